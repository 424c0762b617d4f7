"""Data sets: index, lists, the one image decoder, transforms, saliency maps, the drawn demo."""
