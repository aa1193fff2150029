"""What is held about one person, and the requests that people may make about it."""
