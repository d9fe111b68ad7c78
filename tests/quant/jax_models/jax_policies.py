"""Small policies in Flax, of every form that is supported, and their twin in torch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen, nnx
from torch import nn

WIDTH, SHAPE = 8, (4, 8)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(2 * WIDTH, WIDTH, use_bias=False, rngs=rngs)

    def __call__(self, x):
        return x + self.down(nnx.relu(self.up(self.norm(x))))


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, WIDTH, (4, 4), strides=4, padding="VALID", rngs=rngs)
        self.embed = nnx.Embed(4, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs)])
        self.head = nnx.Linear(WIDTH, SHAPE[1], rngs=rngs)
        self.unused = nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, images, noise):
        patches = self.conv(images)
        patches = patches.reshape(len(images), -1, WIDTH)
        tokens = jnp.broadcast_to(self.embed(jnp.arange(4)), (len(images), 4, WIDTH))
        x = jnp.concatenate([patches, tokens], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, -4:]) + noise

    def sample(self, images, noise):
        return self(images, noise)


class TorchBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class TorchNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.embed = nn.Embedding(4, WIDTH)
        self.blocks = nn.ModuleList([TorchBlock()])
        self.head = nn.Linear(WIDTH, SHAPE[1])
        self.unused = nn.Linear(2, 2)

    def forward(self, images, noise):
        patches = self.conv(images.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        tokens = self.embed(torch.arange(4)).expand(len(images), 4, -1)
        x = torch.cat([patches, tokens], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, -4:]) + noise


def twin_of(net):
    """Return a torch model with a Flax model's weights."""
    model = TorchNet().eval()
    state = {}
    for path, variable in nnx.iter_graph(net):
        if isinstance(variable, nnx.Param):
            values = np.array(variable.get_value())
            if path[-1] == "kernel":
                values = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T
            last = "bias" if path[-1] == "bias" else "weight"
            state[".".join([*map(str, path[:-1]), last])] = torch.from_numpy(values.copy())
    model.load_state_dict(state)
    return model


class Policy:
    noise_shape = SHAPE

    def infer(self, obs, noise):
        return self.infer_batch([obs], noise[None])[0]

    def infer_batch(self, observations, noise):
        images = np.stack([obs["image"] for obs in observations]).astype(np.float32) / 255
        return [{"actions": np.asarray(one)} for one in self.act(images, np.asarray(noise, np.float32))]


class TorchPolicy(Policy):
    def __init__(self):
        self.model = twin_of(Net())

    def act(self, images, noise):
        return self.model(torch.from_numpy(images), torch.from_numpy(noise))


class NnxJit(Policy):
    """The module is an argument of a function."""

    def __init__(self):
        self.model = Net()
        self._act = nnx.jit(lambda model, images, noise: model(images, noise))

    def act(self, images, noise):
        return self._act(self.model, images, noise)


class Captured(Policy):
    """The module is captured by a function."""

    def __init__(self):
        self.model = model = Net()
        self.act = jax.jit(lambda images, noise: model(images, noise))


def module_jit(method):
    """As openpi's ``nnx_utils.module_jit``: structure and weights are captured, apart."""
    graphdef, state = nnx.split(method.__self__)

    def function(state, *args):
        return method.__func__(nnx.merge(graphdef, state), *args)

    jitted = jax.jit(function)

    @functools.wraps(method)
    def wrapper(*args):
        return jitted(state, *args)

    return wrapper


class LikeOpenpi(Policy):
    def __init__(self):
        self._model = Net()
        self._sample_actions = module_jit(self._model.sample)

    def act(self, images, noise):
        return self._sample_actions(images, noise)


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x):
        y = linen.LayerNorm(epsilon=1e-5, name="norm")(x)
        y = linen.relu(linen.Dense(2 * WIDTH, name="up")(y))
        return x + linen.Dense(WIDTH, use_bias=False, name="down")(y)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, images, noise):
        patches = linen.Conv(WIDTH, (4, 4), strides=4, padding="VALID", name="conv")(images)
        patches = patches.reshape(len(images), -1, WIDTH)
        tokens = linen.Embed(4, WIDTH, name="embed")(jnp.arange(4))
        x = jnp.concatenate([patches, jnp.broadcast_to(tokens, (len(images), 4, WIDTH))], 1)
        x = LinenBlock(name="blocks_0")(x)
        return linen.Dense(SHAPE[1], name="head")(x[:, -4:]) + noise


class Linen(Policy):
    def __init__(self):
        params = {}
        for path, variable in nnx.iter_graph(Net()):
            if isinstance(variable, nnx.Param) and path[0] != "unused":
                place = params
                for part in ("blocks_0", *path[2:-1]) if path[0] == "blocks" else path[:-1]:
                    place = place.setdefault(part, {})
                place[path[-1]] = variable.get_value()
        self.params = params
        self._apply = jax.jit(LinenNet().apply)

    def act(self, images, noise):
        return self._apply({"params": self.params}, images, noise)


def observations(number=3):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (number, 8, 8, 3), dtype=np.uint8)
    noise = generator.standard_normal((number, *SHAPE), dtype=np.float32)
    return [{"prompt": "go", "image": image} for image in images], noise
