"""What other tools do, run beside ours."""
