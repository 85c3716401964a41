"""What NTS does with parts of an image: anchors, their scores, the choice of few, their crops."""
