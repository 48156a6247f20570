"""What callers and files give, checked where it comes in."""
