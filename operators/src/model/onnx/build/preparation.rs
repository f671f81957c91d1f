//! What makes features ready in the pipelines of scikit-learn: gaps are filled, numbers become truth values or columns of their own.
//!
//! Source: `Imputer`, `Binarizer` and `OneHotEncoder` of `ai.onnx.ml`, version 1.

use super::super::Reason;
use super::super::graph::{Elements, Node, Tensor};
use super::super::operation::{Binary, Operand, Operation};
use super::forms::Form;
use super::{Builder, output};

impl Builder {
    /// Another number where a feature is the one that stands for a gap. NaN never comes: such a row has no score.
    pub(super) fn imputer(&mut self, node: &Node) -> Result<(), Reason> {
        let integers = node.integers("imputed_value_int64s");
        let (filled, gap) = if integers.is_empty() {
            (node.numbers("imputed_value_floats")?, node.float("replaced_value_float", 0.0))
        } else {
            let tensor = Tensor { dimensions: Vec::new(), values: Elements::Integers(integers.to_vec()) };
            #[expect(clippy::cast_precision_loss, reason = "ONNX casts integers in this way, too")]
            let gap = node.integer("replaced_value_int64", 0) as f64;
            (tensor.numbers()?, gap)
        };
        let (operand, width) = self.columns(node, 0)?;
        if filled.len() != width && filled.len() != 1 {
            return Err(format!("Imputer has {} numbers for {width} columns", filled.len()));
        }
        let compared = vec![operand.clone(), Operand::Constant(vec![gap])];
        let is_gap = self.push(Operation::Binary(Binary::Equal), compared, "", width);
        let operands = vec![Operand::Columns(is_gap), Operand::Constant(filled), operand];
        self.push(Operation::Choose, operands, output(node, 0)?, width);
        Ok(())
    }

    /// One for what is above the threshold, else zero.
    pub(super) fn binarizer(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let operands = vec![Operand::Constant(vec![node.float("threshold", 0.0)]), operand];
        self.push(Operation::Binary(Binary::Less), operands, output(node, 0)?, width);
        Ok(())
    }

    /// A column for each whole number that is known, with one where it is the feature.
    pub(super) fn one_hot(&mut self, node: &Node) -> Result<(), Reason> {
        let known = node.integers("cats_int64s");
        if known.is_empty() || !node.texts("cats_strings").is_empty() {
            return Err("OneHotEncoder of text is not supported".into());
        }
        if node.integer("zeros", 1) == 0 {
            return Err("OneHotEncoder that fails on what it does not know is not supported".into());
        }
        let tensor = Tensor { dimensions: Vec::new(), values: Elements::Integers(known.to_vec()) };
        let (known, (operand, width)) = (tensor.numbers()?, self.columns(node, 0)?);
        let columns = known.len();
        // A feature with a fraction is cut to a whole number first.
        let whole = self.push(Operation::Unary(super::Unary::Truncate), vec![operand], "", width);
        let each = (0..width).flat_map(|feature| std::iter::repeat_n(feature, columns)).collect();
        let spread = self.push(Operation::Pick(each), vec![Operand::Columns(whole)], "", width * columns);
        let all = known.repeat(width);
        let operands = vec![Operand::Columns(spread), Operand::Constant(all)];
        let slot = self.push(Operation::Binary(Binary::Equal), operands, output(node, 0)?, width * columns);
        self.forms.insert(slot, Form::Table([width, columns]));
        Ok(())
    }

    /// One number for each column: what `ConstantOfShape` makes of the `Shape` of columns.
    pub(super) fn filled(&mut self, node: &Node) -> Result<(), Reason> {
        let name = node.inputs.first().map_or("", String::as_str);
        let width = self.shapes.get(name).copied();
        let width = width.ok_or("ConstantOfShape is supported for the shape of columns only")?;
        let value = node.attributes.get("value").and_then(|attribute| attribute.tensor.as_ref());
        let value = value.map_or(Ok(vec![0.0]), Tensor::numbers)?;
        let values = Elements::Numbers(vec![value.first().copied().unwrap_or_default(); width]);
        self.constants.insert(output(node, 0)?.to_owned(), Tensor { dimensions: vec![1, width], values });
        Ok(())
    }

    /// Remembers which columns a shape is of.
    pub(super) fn shape(&mut self, node: &Node) -> Result<(), Reason> {
        let (_, width) = self.columns(node, 0)?;
        if !node.attributes.is_empty() {
            return Err("Shape is supported for columns only".into());
        }
        self.shapes.insert(output(node, 0)?.to_owned(), width);
        Ok(())
    }
}
