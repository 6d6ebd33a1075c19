"""Kehu in containers: the image, what runs once before the services, and how both are checked."""
