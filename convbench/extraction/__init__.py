"""Where real layers come from: the convolutions of torch modules, of the models of timm and torchvision, of files."""
