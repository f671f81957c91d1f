"""Trains the model of this example with scikit-learn and writes it as output.onnx.

    pip install scikit-learn==1.9.1 skl2onnx==1.20 onnx==1.23.2 onnxruntime==1.32
    python examples/onnx_power_plant/train.py $CCPP/ccpp.csv

The first four fifths of the rows teach; what onnxruntime leaves on the others is printed, so that it can be compared.
"""

import pathlib
import sys

import numpy as np
import onnxruntime
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
x, y = rows[:, :4].astype(np.float32), rows[:, 4]
known = len(rows) * 4 // 5
net = MLPRegressor(hidden_layer_sizes=(24, 24), solver="lbfgs", alpha=0.01, max_iter=300, random_state=7)
model = make_pipeline(StandardScaler(), net).fit(x[:known], y[:known])
exported = convert_sklearn(model, initial_types=[("x", FloatTensorType([None, 4]))], target_opset={"": 17, "ai.onnx.ml": 3})
path = pathlib.Path(__file__).parent / "output.onnx"
path.write_bytes(exported.SerializeToString())

found = onnxruntime.InferenceSession(path).run(None, {"x": x[known:]})[0].ravel()
print("rows", len(found), "RMSE", np.sqrt(np.mean((found - y[known:]) ** 2)), "first", found[:3])
print("range of the training", x[:known].min(0), x[:known].max(0))
