"""Data sets: lists, index, images and their decoder, transforms, saliency maps, the drawn demo."""
