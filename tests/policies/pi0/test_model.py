"""The model against itself: what may be left out, what each path has to agree on, what training needs."""

import pytest
import torch
import torch.nn.functional as F
from pi0_cases import SMALL, SMALL_PI05, batch_for, randomised
from torch import nn

from headless_eval.policies.paligemma.config import GemmaConfig
from headless_eval.policies.paligemma.gemma import KeysValues, RMSNorm, attention_mask, grouped_attention
from headless_eval.policies.pi0.config import CONFIGS
from headless_eval.policies.pi0.model import Pi0, drop_unused, sample_time, slots_for, time_embedding


def _close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_masked_views_and_unused_slots_change_nothing(small):
    batch = batch_for(small.config)
    images, masks, tokens, token_mask = drop_unused(*batch.prefix)
    assert len(images) == 2
    assert tokens.shape == token_mask.shape == (3, 8)
    with torch.inference_mode():
        whole = small.prefix(*batch.prefix)
        part = small.prefix(images, masks, tokens, token_mask)
        time = torch.full((3,), 0.7)
        velocities = [
            small.velocity(
                prefix, small.suffix_context(prefix, batch.state), batch.noise, *small.condition(time)
            )
            for prefix in (whole, part)
        ]
    assert whole.mask.shape[1] > part.mask.shape[1]
    _close(*velocities)


def test_slots_are_rounded_up_but_not_beyond_those_there():
    assert [slots_for(used, 12) for used in (0, 1, 8, 9, 12, 20)] == [0, 8, 8, 12, 12, 12]


def test_content_of_masked_views_and_slots_is_not_seen(small):
    batch = batch_for(small.config)
    before = small.sample_actions(*batch.prefix, batch.state, batch.noise)
    batch.images[2] += 1
    batch.tokens[~batch.token_mask] = 5
    assert torch.equal(before, small.sample_actions(*batch.prefix, batch.state, batch.noise))


def test_a_view_masked_for_one_sample_only(small):
    batch = batch_for(small.config)
    batch.image_masks[1] = torch.tensor([True, False, True])
    together = small.sample_actions(*batch.prefix, batch.state, batch.noise)
    for row in range(3):
        one = slice(row, row + 1)
        alone = small.sample_actions(
            [image[one] for image in batch.images],
            [mask[one] for mask in batch.image_masks],
            batch.tokens[one],
            batch.token_mask[one],
            batch.state[one],
            batch.noise[one],
        )
        _close(together[one], alone)


def test_no_views_at_all(small):
    batch = batch_for(small.config)
    batch.image_masks[:2] = [torch.zeros(3, dtype=torch.bool)] * 2
    only_prompt = small.sample_actions(*batch.prefix, batch.state, batch.noise)
    assert only_prompt.isfinite().all()


def test_sampling_is_euler_on_the_velocity_that_training_sees(small):
    """The loss of x_t at noise n, actions a is (v - (n - a))²: with a = 0 and t = 1 it gives |v(n) - n|."""
    batch = batch_for(small.config, used=6)
    steps = 2
    x = batch.noise
    for step in range(steps):
        time = torch.full((3,), 1 - step / steps)
        # x_t = t * noise with actions of zero.
        noise = x / time[:, None, None]
        zeros = torch.zeros_like(x)
        with torch.no_grad():
            plus = small.flow_matching_loss(*batch.prefix, batch.state, zeros, noise, time)
            # Moving noise and actions along x_t = const by d changes the target by a known amount.
            d = torch.full_like(x, 0.5)
            t = time[:, None, None]
            shifted = small.flow_matching_loss(*batch.prefix, batch.state, d, noise - (1 - t) / t * d, time)
        # (v - n)² and (v - n + c)² with c = d / t: their difference is linear in v.
        c = d / t
        velocity = noise + (shifted - plus - c**2) / (2 * c)
        x = x - velocity / steps
    sampled = small.sample_actions(*batch.prefix, batch.state, batch.noise, num_steps=steps)
    torch.testing.assert_close(x, sampled, rtol=1e-4, atol=1e-4)


def test_loss_is_the_squared_error_of_the_cached_velocity(small):
    batch = batch_for(small.config)
    time = torch.tensor([0.1, 0.5, 1.0])
    with torch.no_grad():
        loss = small.flow_matching_loss(*batch.prefix, batch.state, batch.actions, batch.noise, time)
        prefix = small.prefix(*drop_unused(*batch.prefix))
        t = time[:, None, None]
        velocity = small.velocity(
            prefix,
            small.suffix_context(prefix, batch.state),
            t * batch.noise + (1 - t) * batch.actions,
            *small.condition(time),
        )
    _close(loss, (velocity - (batch.noise - batch.actions)) ** 2)


def test_repeats_share_a_prefix(small):
    batch, repeats = batch_for(small.config), 4
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(3 * repeats, *small.noise_shape, generator=generator)
    time = sample_time(3 * repeats, generator=generator)
    arguments = (*batch.prefix, batch.state, batch.actions)
    with torch.no_grad():
        shared = small.flow_matching_loss(*arguments, noise, time, repeats=repeats)
        for repeat in range(repeats):
            own = slice(repeat, None, repeats)
            _close(shared[own], small.flow_matching_loss(*arguments, noise[own], time[own]))


def test_gradient_reaches_every_parameter(small):
    batch = batch_for(small.config)
    small.flow_matching_loss(
        *batch.prefix, batch.state, batch.actions, batch.noise, sample_time(3)
    ).mean().backward()
    without = [
        name
        for name, parameter in small.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


def test_the_loss_is_one_graph_for_the_compiler(small):
    batch = batch_for(small.config)
    arguments = (*batch.prefix, batch.state, batch.actions, batch.noise, torch.tensor([0.2, 0.5, 0.9]))
    compiled = torch.compile(small.flow_matching_loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*arguments), small.flow_matching_loss(*arguments))


def test_loss_under_autocast_is_close_and_float32(small):
    batch = batch_for(small.config)
    arguments = (*batch.prefix, batch.state, batch.actions, batch.noise, torch.tensor([0.2, 0.5, 0.9]))
    with torch.no_grad():
        exact = small.flow_matching_loss(*arguments)
        with torch.autocast("cpu", torch.bfloat16):
            loss = small.flow_matching_loss(*arguments)
    assert loss.dtype == torch.float32
    assert (loss.mean() / exact.mean() - 1).abs() < 0.05


def test_half_width_weights_sample_close_to_float32(small):
    batch = batch_for(small.config)
    exact = small.sample_actions(*batch.prefix, batch.state, batch.noise)
    rough = small.to(torch.bfloat16).sample_actions(*batch.prefix, batch.state, batch.noise)
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() / exact.norm() < 0.05


def test_state_enters_pi0_as_a_token_and_pi05_not_at_all():
    for config, expected in ((SMALL, True), (SMALL_PI05, False)):
        model, batch = randomised(config), batch_for(config)
        one = model.sample_actions(*batch.prefix, batch.state, batch.noise)
        other = model.sample_actions(*batch.prefix, batch.state + 1, batch.noise)
        assert bool((one != other).any()) == expected


def test_state_token_does_not_see_actions():
    model = randomised(SMALL)
    batch = batch_for(SMALL)
    outputs = []
    model.expert.layers[-1].register_forward_hook(lambda *of: outputs.append(of[-1][0][:, 0]))
    with torch.no_grad():
        for noise in (batch.noise, batch.noise + 1):
            model.flow_matching_loss(*batch.prefix, batch.state, batch.actions, noise, torch.full((3,), 0.5))
    assert torch.equal(*outputs)


def test_every_weight_is_used_through_its_module(small):
    """What hooks on leaf modules see is what the model computes with."""
    batch = batch_for(small.config)
    leaves = {name: m for name, m in small.named_modules() if name and not list(m.children())}
    seen: set[str] = set()
    first_dimensions: set[int] = set()

    def remember(name: str):
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            seen.add(name)
            first_dimensions.add(output.shape[0])

        return hook

    for name, module in leaves.items():
        module.register_forward_hook(remember(name))
    small.sample_actions(*batch.prefix, batch.state, batch.noise, num_steps=5)
    assert seen == set(leaves)
    held = {id(p) for module in leaves.values() for p in module.parameters()}
    assert held == {id(p) for p in small.parameters()}
    # Samples, samples by views, flow steps, or what all samples share.
    assert first_dimensions <= {3, 6, 5, 1}


def test_grouped_attention_is_attention_with_repeated_keys():
    batch, tokens, stored, size = 2, 5, 9, 8
    config = GemmaConfig(width=1, depth=1, mlp_dim=1, num_heads=6, num_kv_heads=2, head_dim=size)
    queries = torch.randn(batch, tokens, 6, size)
    keys, values = torch.randn(2, batch, 2, stored, size)
    allowed = torch.rand(batch, tokens, stored) < 0.6
    allowed[..., 0] = True
    found = grouped_attention(
        queries, KeysValues(keys, values), attention_mask(allowed, config, torch.float32)
    )
    # Consecutive heads share a key and value head.
    expected = F.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.repeat_interleave(3, dim=1),
        values.repeat_interleave(3, dim=1),
        attn_mask=allowed[:, None],
    )
    _close(found, expected.transpose(1, 2).flatten(2))


def test_rms_norm_is_torchs():
    norm = RMSNorm(24)
    with torch.no_grad():
        norm.weight.normal_()
    for scale in (1.0, 1e-3):
        x = (torch.randn(2, 3, 24) * scale).requires_grad_()
        of_x = torch.randn(2, 3, 24)
        ours, torchs = norm(x), F.rms_norm(x, (24,), 1 + norm.weight, 1e-6)
        torch.testing.assert_close(ours, torchs)
        gradients = [torch.autograd.grad(y, (x, norm.weight), of_x) for y in (ours, torchs)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert norm(torch.zeros(1, 24)).isfinite().all()


def test_column_major_weights_compute_the_same(small):
    batch = batch_for(small.config)
    before = small.sample_actions(*batch.prefix, batch.state, batch.noise)
    state = {name: value.clone() for name, value in small.state_dict().items()}
    small.lay_out_for_cpu()
    assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())
    _close(before, small.sample_actions(*batch.prefix, batch.state, batch.noise))


def test_sampled_times_follow_their_distributions():
    generator = torch.Generator().manual_seed(0)
    for sampler, power in (("uniform", 1.0), ("beta", 1.5)):
        times = sample_time(20_000, sampler, generator)
        assert times.shape == (20_000,)
        assert times.min() >= 0.001
        assert times.max() <= 1
        # Both distribution functions are x**power, stretched to [0.001, 1].
        for share in (0.1, 0.3, 0.5, 0.9):
            at = 0.001 + 0.999 * share
            assert abs((times <= at).float().mean().item() - share**power) < 0.015
    with pytest.raises(ValueError, match="normal"):
        sample_time(1, "normal")


def test_time_embedding_spans_its_periods():
    embedding = time_embedding(torch.tensor([0.0, 4e-3, 1.0]), 6)
    assert embedding.shape == (3, 6)
    torch.testing.assert_close(embedding[0], torch.tensor([0.0, 0, 0, 1, 1, 1]))
    # The shortest period has passed once at 4e-3; the longest, 4, a quarter at 1.
    torch.testing.assert_close(embedding[1, [0, 3]], torch.tensor([0.0, 1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(embedding[2, [2, 5]], torch.tensor([1.0, 0]), atol=1e-5, rtol=0)


def test_the_bundled_size_fits_its_files():
    model = Pi0(CONFIGS["pi0-droid-tiny"].model)
    assert sum(parameter.numel() for parameter in model.parameters()) * 4 < 25e6
    assert model.noise_shape == (10, 8)
