"""`python -m benchmarks [subject …]`: run the subjects named, or all of them, one after the other."""

import importlib
import pkgutil
import sys

import benchmarks


def main(names: list[str]) -> int:
    """Run them; an unknown name lists those there are."""
    subjects = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_")
    unknown = set(names) - set(subjects)
    if unknown:
        print(f"No such benchmark: {', '.join(sorted(unknown))}. There are: {', '.join(subjects)}.")
        return 2
    for name in names or subjects:
        module = importlib.import_module(f"benchmarks.{name}")
        # What another benchmark builds on measures nothing by itself.
        if hasattr(module, "run"):
            print(f"\n== {name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
            module.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
