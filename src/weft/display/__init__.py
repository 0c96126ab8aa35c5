"""What people look at: pictures of graphs. It reads what it is given, and runs nothing."""
