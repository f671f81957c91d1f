//! Which operators a file means: a name counts together with its domain and the version of that domain.
//!
//! Source: "Operator sets" and "ModelProto" of the ONNX specification, and the changelogs of `ai.onnx` up to 28 and of `ai.onnx.ml`
//! up to 5. Each operator is read from the version on in which it meant what it means now.

use std::collections::BTreeMap;

use super::Reason;
use super::graph::Node;
use super::protobuf::{Value, fields};

/// The domain of most operators. In a file it has no name, or this one.
const MAIN: &str = "ai.onnx";
/// The domain of classical machine learning.
const LEARNING: &str = "ai.onnx.ml";

/// The newest versions that are known; in a later one an operator may mean something else.
const NEWEST: [(&str, i64); 2] = [(MAIN, 28), (LEARNING, 5)];

/// The operators that are read, by their domain and the first version of it from which they are.
///
/// What was there before them: arithmetic and `Gemm` with an attribute that asks for broadcasts (7); `BatchNormalization` and `Dropout`
/// that learn unless told not to (7); types by name in `Cast` (6); forms by attribute in `Reshape` (5); an axis that may be left out in
/// `Concat` (4); the bounds of `Slice` as attributes (10); a `LabelEncoder` between text and places only (2 of `ai.onnx.ml`). `consumed_inputs`, which others had below 6, changes no result.
const READ: [(&str, i64, &[&str]); 10] = [
    (
        MAIN,
        1,
        &[
            "Abs",
            "ArgMax",
            "ArgMin",
            "Ceil",
            "Clip",
            "Constant",
            "Elu",
            "Exp",
            "Flatten",
            "Floor",
            "Gather",
            "Identity",
            "LeakyRelu",
            "Log",
            "LpNormalization",
            "MatMul",
            "Max",
            "Min",
            "Neg",
            "Not",
            "Reciprocal",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
            "Relu",
            "Shape",
            "Sigmoid",
            "Softmax",
            "Softplus",
            "Sqrt",
            "Squeeze",
            "Sum",
            "Tanh",
        ],
    ),
    (MAIN, 4, &["Concat"]),
    (MAIN, 5, &["Reshape"]),
    (MAIN, 6, &["Cast"]),
    (
        MAIN,
        7,
        &[
            "Add",
            "And",
            "BatchNormalization",
            "Div",
            "Dropout",
            "Equal",
            "Gemm",
            "Greater",
            "Less",
            "Mul",
            "Or",
            "Pow",
            "Sub",
        ],
    ),
    (MAIN, 9, &["ConstantOfShape", "Sign", "Where"]),
    (MAIN, 10, &["Slice"]),
    (MAIN, 12, &["GreaterOrEqual", "LessOrEqual"]),
    (
        LEARNING,
        1,
        &[
            "ArrayFeatureExtractor",
            "Binarizer",
            "Imputer",
            "LinearClassifier",
            "LinearRegressor",
            "Normalizer",
            "OneHotEncoder",
            "SVMClassifier",
            "SVMRegressor",
            "Scaler",
            "TreeEnsembleClassifier",
            "TreeEnsembleRegressor",
            "ZipMap",
        ],
    ),
    (LEARNING, 2, &["LabelEncoder"]),
];

/// The versions of the domains that a file imports.
#[derive(Debug, Default)]
pub(super) struct Opsets(BTreeMap<String, i64>);

impl Opsets {
    /// Those of the fields of a model.
    pub(super) fn of_model(model: &[(u64, Value<'_>)]) -> Result<Self, Reason> {
        let mut versions = BTreeMap::new();
        for (_, import) in model.iter().filter(|(number, _)| *number == 8) {
            let (mut domain, mut version) = (String::new(), 0);
            for (number, value) in fields(import.bytes()?)? {
                match number {
                    1 => domain = value.text()?,
                    2 => version = value.integer()?,
                    _ => {}
                }
            }
            versions.insert(known_as(&domain).to_owned(), version);
        }
        Ok(Self(versions))
    }

    /// Refuses a node whose operator is not the one that we know by its name.
    pub(super) fn check(&self, node: &Node) -> Result<(), Reason> {
        let (operator, domain) = (node.operator.as_str(), known_as(&node.domain));
        let Some((_, newest)) = NEWEST.iter().find(|(known, _)| *known == domain) else {
            return Err(format!("operator {operator} of domain {domain:?} is not supported"));
        };
        let found = READ.iter().find(|(known, _, names)| *known == domain && names.contains(&operator));
        let Some((_, oldest, _)) = found else {
            return Err(format!("operator {operator} of {domain} is not supported"));
        };
        let version = self.0.get(domain).ok_or_else(|| {
            format!("it has operator {operator}, and does not say of which version of {domain}")
        })?;
        if (oldest..=newest).contains(&version) {
            return Ok(());
        }
        Err(format!(
            "operator {operator} of version {version} of {domain} is not supported; it is from {oldest} to {newest}"
        ))
    }
}

/// The one name of a domain.
fn known_as(domain: &str) -> &str {
    if domain.is_empty() { MAIN } else { domain }
}

#[cfg(test)]
mod tests {
    use super::super::{Imported, OnnxModel, OnnxOptions};
    use super::*;

    /// A field that is text, bytes or a message.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    /// A field that is a small integer.
    fn integer(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    /// `OperatorSetIdProto`.
    fn import(domain: &str, version: u8) -> Vec<u8> {
        field(8, &[field(1, domain.as_bytes()), integer(2, version)].concat())
    }

    /// `NodeProto` from x to y, with more fields.
    fn node(operator: &str, domain: &str, more: &[u8]) -> Vec<u8> {
        let [x, y] = [field(1, b"x"), field(2, b"y")];
        field(1, &[x, y, field(4, operator.as_bytes()), field(7, domain.as_bytes()), more.to_vec()].concat())
    }

    /// `ValueInfoProto` of a table of two columns of floats.
    fn table(number: u8, name: &str) -> Vec<u8> {
        let shape = [field(1, &field(2, b"n")), field(1, &integer(1, 2))].concat();
        let tensor = [integer(1, 1), field(2, &shape)].concat();
        field(number, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
    }

    /// A model of one node and these imports, read.
    fn read(node: &[u8], imports: &[Vec<u8>]) -> Result<Imported, Reason> {
        let graph = [node.to_vec(), table(11, "x"), table(12, "y")].concat();
        let bytes = [field(7, &graph), imports.concat()].concat();
        let classes = vec!["a".to_owned(), "b".to_owned()];
        OnnxModel::read(&bytes, &OnnxOptions { classes, ..OnnxOptions::default() })
    }

    fn refused(node: &[u8], imports: &[Vec<u8>]) -> Reason {
        read(node, imports).unwrap_err()
    }

    #[test]
    fn the_main_domain_has_two_names() {
        for (domain, imported) in [("", ""), ("ai.onnx", ""), ("", "ai.onnx"), ("ai.onnx", "ai.onnx")] {
            read(&node("Relu", domain, &[]), &[import(imported, 17)]).unwrap();
        }
    }

    #[test]
    fn an_operator_of_another_domain_is_not_ours() {
        let imports = [import("", 17), import("ai.onnx.ml", 3), import("com.example", 1)];
        let error = refused(&node("Relu", "com.example", &[]), &imports);
        assert_eq!(error, "operator Relu of domain \"com.example\" is not supported");
        let error = refused(&node("Relu", "ai.onnx.ml", &[]), &imports);
        assert_eq!(error, "operator Relu of ai.onnx.ml is not supported");
        let error = refused(&node("Normalizer", "", &[]), &imports);
        assert_eq!(error, "operator Normalizer of ai.onnx is not supported");
    }

    #[test]
    fn a_version_in_which_an_operator_meant_something_else_is_refused() {
        let reshape = node("Reshape", "", &[]);
        for version in [4, 29] {
            let error = refused(&reshape, &[import("", version)]);
            let expected = format!("operator Reshape of version {version} of ai.onnx is not supported");
            assert!(error.starts_with(&expected), "{error}");
        }
        assert!(!refused(&reshape, &[import("", 5)]).contains("version"));
        let normalizer = node("Normalizer", "ai.onnx.ml", &[]);
        read(&normalizer, &[import("ai.onnx.ml", 1)]).unwrap();
        assert!(refused(&normalizer, &[import("ai.onnx.ml", 6)]).contains("from 1 to 5"));
        assert!(refused(&normalizer, &[import("", 17)]).contains("which version of ai.onnx.ml"));
    }

    #[test]
    fn what_learns_while_it_is_scored_is_refused() {
        let more = [field(2, b"mean"), field(2, b"variance")].concat();
        let error = refused(&node("BatchNormalization", "", &more), &[import("", 9)]);
        assert_eq!(error, "BatchNormalization that learns is not supported");
    }

    #[test]
    fn functions_of_the_file_are_named() {
        let function = [field(1, b"Gelu"), field(10, b"local")].concat();
        // Field 25 takes two bytes.
        let function = [&[0xca, 0x01, u8::try_from(function.len()).unwrap()], function.as_slice()].concat();
        let error = refused(&node("Gelu", "local", &[]), &[import("", 17), import("local", 1), function]);
        assert_eq!(error, "it defines function \"Gelu\" of domain \"local\", which is not supported");
    }
}
