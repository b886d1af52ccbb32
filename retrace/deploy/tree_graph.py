"""A forest or boosted trees as an ONNX graph: one ensemble of trees, and what stands around it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import xgboost
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retrace.errors import InputError
from retrace.learning.estimators import Estimator

# The last version of the trees in which a leaf may speak of several classes, as a forest's do.
_TREES, _TREES_VERSION = "ai.onnx.ml", 3
_SMALLEST = 1e-7  # probability, as in `checkpoint.logits`

State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Tree:
    """A tree of n nodes, of which the first is the root.

    children: (n, 2) the nodes for rows that pass a split and that do not; -1 in a leaf. columns,
    thresholds: (n,) of the splits. scores: (n, n_classes) what a leaf adds to each class, NaN
    where a node says nothing.
    """

    children: NDArray[np.int64]
    columns: NDArray[np.int64]
    thresholds: NDArray[np.floating]
    scores: NDArray[np.floating]


def tree_graph(
    estimator: Estimator, shape: tuple[int, ...], n_features: int, opset: int
) -> onnx.ModelProto:
    """Segments of `shape` and `n_features` beside each to the logarithm of their probabilities.

    Values arrive as float32 and are compared as double, in which every threshold is exact: one
    that lies on a threshold goes where it goes in the estimator.
    """
    state: State = estimator.state()
    if "ubj" in state:
        ensemble = _boosted(state)
        squash = helper.make_node("Softmax", ["said"], ["probabilities"], axis=1)
    elif "roots" in state:
        ensemble = _forest(state)
        squash = helper.make_node("Identity", ["said"], ["probabilities"])
    else:
        name, _ = estimator.library
        raise InputError(
            f"model.name: a model of {name}; of all that are no networks only XGBoost's trees and "
            "random forests are exported: choose one of these, or a network, in params.yaml"
        )
    given = {"segments": list(shape)} | ({"features": [n_features]} if n_features else {})
    n_classes = helper.get_node_attr_value(ensemble, "n_targets")
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["segments"], ["samples"]),
            helper.make_node("Concat", ["samples", *list(given)[1:]], ["row"], axis=1),
            helper.make_node("Cast", ["row"], ["exact"], to=TensorProto.DOUBLE),
            ensemble,
            squash,
            helper.make_node("Clip", ["probabilities", "smallest", "largest"], ["clipped"]),
            helper.make_node("Log", ["clipped"], ["logits"]),
        ],
        "trees",
        [_floats(name, dims) for name, dims in given.items()],
        [_floats("logits", [n_classes])],
        [
            helper.make_tensor("smallest", TensorProto.FLOAT, [], [_SMALLEST]),
            helper.make_tensor("largest", TensorProto.FLOAT, [], [1]),
        ],
    )
    versions = [helper.make_opsetid("", opset), helper.make_opsetid(_TREES, _TREES_VERSION)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def _floats(name: str, dims: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims])


def _boosted(state: State) -> onnx.NodeProto:
    """The trees of XGBoost, each of one class, on the scores with which it begins."""
    booster = xgboost.Booster(model_file=bytearray(state["ubj"].tobytes()))
    learner = json.loads(booster.save_raw("json"))["learner"]
    n_classes = int(learner["learner_model_param"]["num_class"])
    base = np.array(json.loads(learner["learner_model_param"]["base_score"]), np.float32)
    model = learner["gradient_booster"]["model"]

    def trees() -> Iterator[_Tree]:
        for tree, own in zip(model["trees"], model["tree_info"], strict=True):
            children = np.stack([tree["left_children"], tree["right_children"]], axis=1)
            # Of a split its threshold, of a leaf what it says; XGBoost has both in float32.
            numbers = np.array(tree["split_conditions"], np.float32)
            scores = np.full((len(children), n_classes), np.nan)
            leaf = children[:, 0] < 0
            scores[leaf, own] = numbers[leaf]
            yield _Tree(children, np.array(tree["split_indices"]), numbers, scores)

    return _ensemble(
        list(trees()),
        "BRANCH_LT",
        "SUM",
        base_values_as_tensor=_doubles(np.broadcast_to(base, n_classes)),
    )


def _forest(state: State) -> onnx.NodeProto:
    """The trees of a random forest, which answers with the mean of its leaves."""

    def tree(root: int) -> _Tree:
        """The nodes below a root, level by level, numbered anew."""
        numbers, pairs = [root], []
        for one in numbers:  # which grows on the way
            if one < 0:
                pairs.append((-1, -1))
            else:
                pairs.append((len(numbers), len(numbers) + 1))
                numbers += state["children"][one].tolist()
        number, children = np.array(numbers), np.array(pairs)
        split = number >= 0
        columns, thresholds = np.zeros(len(number), np.int64), np.zeros(len(number))
        columns[split] = state["features"][number[split]]
        thresholds[split] = state["thresholds"][number[split]]
        scores = np.full((len(number), state["leaves"].shape[1]), np.nan)
        scores[~split] = state["leaves"][~number[~split]]
        scores[scores == 0] = np.nan
        return _Tree(children, columns, thresholds, scores)

    return _ensemble([tree(root) for root in state["roots"].tolist()], "BRANCH_LEQ", "AVERAGE")


def _ensemble(trees: list[_Tree], passes: str, joined: str, **more: Any) -> onnx.NodeProto:
    """One node for all trees. passes: what lets a row pass a split. joined: how leaves are."""
    sizes = [len(tree.children) for tree in trees]
    tree_ids, node_ids = (
        np.repeat(np.arange(len(trees)), sizes),
        np.concatenate([np.arange(size) for size in sizes]),
    )
    children = np.concatenate([tree.children for tree in trees])
    scores = np.concatenate([tree.scores for tree in trees])
    leaf = children[:, 0] < 0
    says, of = np.nonzero(~np.isnan(scores))
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["exact"],
        ["said"],
        domain=_TREES,
        n_targets=scores.shape[1],
        aggregate_function=joined,
        nodes_treeids=tree_ids,
        nodes_nodeids=node_ids,
        nodes_modes=np.where(leaf, "LEAF", passes).tolist(),
        nodes_featureids=np.concatenate([tree.columns for tree in trees]),
        nodes_values_as_tensor=_doubles(np.concatenate([tree.thresholds for tree in trees])),
        nodes_truenodeids=children[:, 0].clip(0),
        nodes_falsenodeids=children[:, 1].clip(0),
        target_treeids=tree_ids[says],
        target_nodeids=node_ids[says],
        target_ids=of,
        target_weights_as_tensor=_doubles(scores[says, of]),
        **more,
    )


def _doubles(values: NDArray[Any]) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float64), "")
