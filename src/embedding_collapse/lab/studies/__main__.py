"""Write the index of the repository's records: `python -m embedding_collapse.lab.studies`."""

from embedding_collapse.lab.records import in_repository

from .index import write

if __name__ == "__main__":
    print(write(in_repository("results")))
