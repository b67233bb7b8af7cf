"""The recipe of the embedded model: free pictures in, a diffusers folder with its model card out.

    data          Debian packages -> prepared pictures, split by file, with their licences
    autoencoder   prepared pictures -> E and D, with E o D close to the identity
    diffusion     encoded crops and their captions -> eps(z, t, c) or v(z, t, c); of small pictures first
    export        averaged weights -> a folder for StableDiffusionPipeline
    card          the exported model, measured

Run it as `wmark train`. Nothing imports this package, and it may import everything: the card
measures a model with the detectors' own solvers.
"""
