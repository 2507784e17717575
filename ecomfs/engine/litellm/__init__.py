"""Every other provider, through litellm."""
