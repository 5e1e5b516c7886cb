from helpers.programs import program

__all__ = ["program"]
