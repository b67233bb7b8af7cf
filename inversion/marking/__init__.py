"""Marking a picture that exists: what is added to it so that its noise is recovered with a key in it.

    direct         the picture is turned so that what is read of its clean latent turns towards the key
    spectrum       the key is added to the spectrum of its clean latent, which is decoded
    regenerate     the key is planted in the picture's own noise, and that is sampled once more

Each returns a change of the picture (:mod:`.ways`); :func:`.blending.blended` adds as much of it as a PSNR allows. A
detector need not know of any of this: it finds the key where it finds those of generated pictures.
"""
