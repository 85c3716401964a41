"""Which images a batch holds, long after it is gone."""


class Batches:
    """The images of every batch of a `pair_dataset` or `image_dataset`, by its number.

    They follow from the seed and the number of the epoch; nothing is carried through the pipeline
    for it.

    Args:
        reader: The pipeline's `Reader`.
        epochs: Its `EpochCounter`.
        batch_size: Int ≥ 1, images in a batch (twice the pairs).
        shard: The pipeline's `shard`. Defaults to `None`.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=64)
    >>> pairs = cin_keras.data.pair_dataset(samples, image_size=64, pairs_per_batch=2)
    >>> len(pairs.batches.paths(epoch=0, step=3))
    4
    """

    def __init__(self, reader, epochs, batch_size, shard=None):
        self.reader = reader
        self.epochs = epochs
        self.batch_size = batch_size
        self.shard = shard

    def indices(self, epoch, step):
        """The samples that batch `step` (int from 0) of pass `epoch` (int from 0) has shown.

        Returns:
            List of int, in the order of the batch; of a pair batch all first images come first.
            With `on_error="skip"`, those that stood in for images that cannot be decoded.
        """
        begin = step * self.batch_size
        if self.reader.shortens:
            return self.all_indices(epoch)[begin : begin + self.batch_size]
        places = self.epochs.places(epoch)[begin : begin + self.batch_size].tolist()
        return [self._shown(place) for place in places]

    def all_indices(self, epoch):
        """As `indices`, those of the whole pass."""
        shown = map(self._shown, self.epochs.places(epoch).tolist())
        return [index for index in shown if index is not None]

    def paths(self, epoch, step):
        """As `indices`, the paths of the samples, a list of str."""
        return [str(self.reader.samples.paths[i]) for i in self.indices(epoch, step)]

    def _shown(self, place):
        return self.reader.shown(*place)
