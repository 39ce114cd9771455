"""What an installed wheel must do without the repository: run in an empty environment."""

import importlib.metadata
import pydoc
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import fastbp

assert "site-packages" in fastbp.__file__, f"not the installed package: {fastbp.__file__}"
assert importlib.metadata.version("fastbp") == fastbp.__version__
assert (Path(fastbp.__file__).parent / "py.typed").exists()
heavy = {"sklearn", "scipy", "torch", "pyarrow", "matplotlib", "click", "rich", "onnx", "pandas"}
assert not heavy & set(sys.modules), f"imported: {heavy & set(sys.modules)}"

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
T = np.array([[0], [1], [1], [0]])
network = fastbp.Network([fastbp.Dense(2, 8), fastbp.Tanh(), fastbp.Dense(8, 1),
                          fastbp.Sigmoid()], loss=fastbp.BinaryCrossEntropyLoss())
network.fit(X, T, epochs=2000, batch_size=4)
assert (network.predict(X).round() == T).all(), network.predict(X)
with TemporaryDirectory() as folder:
    network.save(f"{folder}/model.safetensors")
    assert (fastbp.load(f"{folder}/model.safetensors").predict(X) == network.predict(X)).all()
for ask in "fastbp.MLPClassifier", "from fastbp import MLPClassifier":
    try:
        exec(ask)
    except ImportError as error:
        assert 'pip install "fastbp[sklearn]"' in str(error), error
    else:
        raise AssertionError("scikit-learn is here: the environment is not empty")
exec("from fastbp import *")
assert "class Network" in pydoc.render_doc(fastbp, renderer=pydoc.plaintext)
print(f"fastbp {fastbp.__version__} from its wheel: trained, saved, loaded")
