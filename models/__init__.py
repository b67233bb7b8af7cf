"""What marks are planted in: families of pipelines behind one protocol; the only room that imports diffusers."""
