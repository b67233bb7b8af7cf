"""Recipes. Of the embedded model: free pictures in, a diffusers folder with its model card out.

    data          Debian packages -> prepared pictures, split by file, with their licences
    autoencoder   prepared pictures -> E and D, with E o D close to the identity
    diffusion     encoded crops and their captions -> eps(z, t, c) or v(z, t, c); of small pictures first
    export        averaged weights -> a folder for StableDiffusionPipeline
    card          the exported model, measured
    notice        who made the pictures, for NOTICE

Run it as `wmark train`. Of its relatives, which share its parts (:mod:`.relatives`), by the same commands. Of what
restores a model's pictures (:mod:`.restorer`), as `wmark train restorer`. And of the left inverse of a decoder
(:mod:`.left_inverse`), which is `wmark tune`.
Nothing but the commands imports this package, and it may import all that is below: the card measures a model with the
solvers that detection uses.

Another model of the same kind, for what needs one that is not the embedded one, is the embedded one with its
autoencoder trained on for half an hour, with another seed and so on other crops; without `--start models/tiny` in the
first command it is an autoencoder from nothing, whose latents are its own:

    options="--run training-run/other --set model.seed=7 --start models/tiny"
    wmark train autoencoder $options --set autoencoder.steps=1500 --set autoencoder.cycle_from=0.0
    wmark train diffusion $options --set diffusion.steps=0 --set diffusion.bank=64
    wmark train export --run training-run/other training-run/other/model
"""
