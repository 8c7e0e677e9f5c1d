"""Galaxy morphology from images: is it better to build a network or to adapt a pretrained one?"""
