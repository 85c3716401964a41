"""`cin-keras search GALLERY PATH...`: the known photographs that are most like these."""

from cin_keras.cli.files import check_output, list_photographs
from cin_keras.cli.galleries import open_gallery
from cin_keras.cli.output import say, write_each
from cin_keras.data.predicting import predict_each
from cin_keras.training import mistakes_in_one_sentence


def run(args):
    """Writes what is most like each photograph; says which cannot be read, and goes on.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status: 1 if a photograph or a folder could not be read.
    """
    with mistakes_in_one_sentence():
        paths, problems = list_photographs(args.paths)
        check_output(args.output, [args.model or "", args.gallery, *paths])
        gallery = open_gallery(args.gallery, args.model, args.batch_size)
    if args.top > len(gallery):
        say(f"--top {args.top} is more than the gallery has: {len(gallery)} photographs.")
    k = min(args.top, len(gallery))
    return write_each(
        args,
        paths,
        problems,
        lambda samples: predict_each(
            gallery.embed, samples, gallery.image_size, args.batch_size, args.max_pixels
        ),
        look=lambda embedding: (neighbours(gallery, embedding, k),),
        as_text=as_text,
        as_entry=lambda found: {"neighbours": found},
        as_rows=lambda found: ([rank, *each.values()] for rank, each in enumerate(found, start=1)),
        columns=["rank", "neighbour", "class", "similarity"],
    )


def neighbours(gallery, embedding, k):
    """The nearest photographs, the nearest first: a list of dicts.

    Args:
        gallery: `Gallery`.
        embedding: Array `(width,)`.
        k: Int, how many.
    """
    found = gallery.search(embedding[None], k)
    return [
        {"path": path, "class": name, "similarity": round(float(similarity), 6)}
        for path, name, similarity in zip(
            found.paths[0].tolist(), found.classes[0].tolist(), found.similarities[0]
        )
    ]


def as_text(path, found):
    """The path of a photograph, and beneath a line a neighbour: `0.953  class  path`."""
    lines = (f"{each['similarity']:7.3f}  {each['class']}  {each['path']}" for each in found)
    return [path, *lines]
