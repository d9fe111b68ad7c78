"""What the loop uses: trials, recording, watchdog, video, replay."""
