"""What a library's maintainers need of one wrong answer: asked anew, and where it shows."""
