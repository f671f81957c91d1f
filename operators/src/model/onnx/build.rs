//! From the nodes of a graph to steps over columns.

mod forms;
mod preparation;

use std::collections::BTreeMap;

use super::encoder;
use super::ensemble::{Ensemble, Leaves};
use super::graph::{Elements, Graph, Node, Tensor, element};
use super::operation::{Binary, Decide, Norm, Operand, Operation, Post, Unary};
use super::vector_classes::VectorClasses;
use super::vectors::Vectors;
use super::{Reason, Step};
use forms::Form;

/// What becomes of a graph.
pub(super) struct Builder {
    pub(super) steps: Vec<Step>,
    constants: BTreeMap<String, Tensor>,
    /// The number of the columns that a name stands for.
    slots: BTreeMap<String, usize>,
    /// How many columns there are by that number.
    widths: Vec<usize>,
    labels: BTreeMap<String, Label>,
    /// How the columns stand to each other, where they are no table of rows and columns.
    forms: BTreeMap<usize, Form>,
    /// The number of columns whose shape a name is.
    shapes: BTreeMap<String, usize>,
}

/// A class for each row.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// The columns with the place of the class.
    pub(super) place: usize,
    /// The columns from which it was chosen.
    pub(super) scores: usize,
    /// The classes.
    pub(super) classes: Elements,
}

impl Builder {
    /// All steps of a graph that reads columns in groups of these names and widths.
    pub(super) fn build(graph: &Graph, inputs: &[(String, usize)]) -> Result<Self, Reason> {
        let constants = graph.constants.clone();
        let (slots, labels) = (BTreeMap::new(), BTreeMap::new());
        let (widths, forms, shapes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut builder = Self { steps: Vec::new(), constants, slots, widths, labels, forms, shapes };
        for (name, width) in inputs {
            builder.name(name, *width);
        }
        for node in &graph.nodes {
            graph.opsets.check(node)?;
            builder.node(node)?;
        }
        Ok(builder)
    }

    /// The columns of a name.
    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        self.slots.get(name).copied()
    }

    /// The columns of a name, if they are a table of rows and columns.
    pub(super) fn table(&self, name: &str) -> Option<usize> {
        self.slot(name).filter(|slot| !self.forms.contains_key(slot))
    }

    /// The classes of a name.
    pub(super) fn label(&self, name: &str) -> Option<&Label> {
        self.labels.get(name)
    }

    /// How many columns there are by this number.
    pub(super) fn width(&self, slot: usize) -> usize {
        self.widths[slot]
    }

    fn name(&mut self, name: &str, width: usize) -> usize {
        let slot = self.widths.len();
        self.widths.push(width);
        if !name.is_empty() {
            self.slots.insert(name.to_owned(), slot);
        }
        slot
    }

    fn push(&mut self, operation: Operation, operands: Vec<Operand>, name: &str, width: usize) -> usize {
        self.steps.push(Step { operation, operands });
        self.name(name, width)
    }

    fn node(&mut self, node: &Node) -> Result<(), Reason> {
        match node.operator.as_str() {
            "TreeEnsembleRegressor" => self.tree_regressor(node),
            "TreeEnsembleClassifier" => self.tree_classifier(node),
            "LinearRegressor" => self.linear_regressor(node),
            "LinearClassifier" => self.linear_classifier(node),
            "SVMRegressor" => self.vectors(node),
            "SVMClassifier" => self.vector_classes(node),
            "LabelEncoder" => self.encode(node),
            "Where" => self.choose(node),
            "Scaler" => self.scaler(node),
            "BatchNormalization" => self.batch_normalization(node),
            "Gemm" | "MatMul" => self.product(node),
            "Concat" => self.concat(node),
            "ArgMax" => self.arg_max(node),
            "ArgMin" => self.arg_min(node),
            "Imputer" => self.imputer(node),
            "Binarizer" => self.binarizer(node),
            "OneHotEncoder" => self.one_hot(node),
            "Shape" => self.shape(node),
            "ConstantOfShape" => self.filled(node),
            "Slice" => self.slice(node),
            operator if operator.starts_with("Reduce") => self.summarize(node),
            "Gather" => self.pick(node),
            "ArrayFeatureExtractor" => self.extract(node),
            "Constant" => self.constant(node),
            "Clip" => self.clip(node),
            "Cast" => self.cast(node),
            "Reshape" | "Flatten" | "Squeeze" => self.reshape(node),
            "Dropout" => self.dropout(node),
            "Identity" | "ZipMap" => self.same(node),
            _ => self.simple(node),
        }
    }

    /// Nodes that have an operation of their own.
    fn simple(&mut self, node: &Node) -> Result<(), Reason> {
        let unary = match node.operator.as_str() {
            "Relu" => Unary::Relu,
            "LeakyRelu" => Unary::LeakyRelu(node.float("alpha", 0.01)),
            "Elu" => Unary::Elu(node.float("alpha", 1.0)),
            "Sigmoid" => Unary::Logistic,
            "Tanh" => Unary::Tanh,
            "Softplus" => Unary::Softplus,
            "Exp" => Unary::Exp,
            "Log" => Unary::Log,
            "Sqrt" => Unary::Sqrt,
            "Neg" => Unary::Neg,
            "Abs" => Unary::Abs,
            "Sign" => Unary::Sign,
            "Not" => Unary::Not,
            "Reciprocal" => Unary::Reciprocal,
            "Floor" => Unary::Floor,
            "Ceil" => Unary::Ceil,
            "Softmax" | "Normalizer" | "LpNormalization" => return self.of_rows(node),
            _ => return self.binary(node),
        };
        let (operand, width) = self.any_columns(node, 0)?;
        let form = self.form(&operand);
        let slot = self.push(Operation::Unary(unary), vec![operand], output(node, 0)?, width);
        self.forms.extend(form.map(|form| (slot, form)));
        Ok(())
    }

    fn of_rows(&mut self, node: &Node) -> Result<(), Reason> {
        let operation = match (node.operator.as_str(), node.text("norm")) {
            ("Softmax", _) if [1, -1].contains(&node.integer("axis", -1)) => Operation::Softmax,
            ("LpNormalization", _) if [1, -1].contains(&node.integer("axis", -1)) => {
                Operation::Normalize(if node.integer("p", 2) == 1 { Norm::Sum } else { Norm::Length })
            }
            ("Softmax" | "LpNormalization", _) => {
                return Err(format!("{} is supported along the columns only", node.operator));
            }
            (_, "L1") => Operation::Normalize(Norm::Sum),
            (_, "L2") => Operation::Normalize(Norm::Length),
            _ => Operation::Normalize(Norm::Greatest),
        };
        let (operand, width) = self.columns(node, 0)?;
        self.push(operation, vec![operand], output(node, 0)?, width);
        Ok(())
    }

    fn binary(&mut self, node: &Node) -> Result<(), Reason> {
        let binary = match node.operator.as_str() {
            "Add" | "Sum" => Binary::Add,
            "Sub" => Binary::Sub,
            "Mul" => Binary::Mul,
            "Div" => Binary::Div,
            "Pow" => Binary::Power,
            "Min" => Binary::Least,
            "Max" => Binary::Greatest,
            "Less" | "Greater" => Binary::Less,
            "LessOrEqual" | "GreaterOrEqual" => Binary::LessOrEqual,
            "Equal" => Binary::Equal,
            "And" => Binary::And,
            "Or" => Binary::Or,
            other => return Err(format!("operator {other} is not supported")),
        };
        let is_turned = node.operator.starts_with("Greater");
        if let Some(([left, right], form)) = self.meet(node, [0, 1])? {
            if node.inputs.len() > 2 {
                return Err(format!("{} of more than two tensors is not supported", node.operator));
            }
            let operands = if is_turned { vec![right, left] } else { vec![left, right] };
            let slot = self.push(Operation::Binary(binary), operands, output(node, 0)?, form.width());
            self.forms.insert(slot, form);
            return Ok(());
        }
        let (mut left, mut width) = self.operand(node, 0)?;
        for place in 1..node.inputs.len().max(2) {
            let (right, other) = self.operand(node, place)?;
            width = common(node, width, other)?;
            let operands = if is_turned { vec![right, left] } else { vec![left, right] };
            let slot = self.push(Operation::Binary(binary), operands, output(node, 0)?, width);
            left = Operand::Columns(slot);
        }
        Ok(())
    }

    fn choose(&mut self, node: &Node) -> Result<(), Reason> {
        let (mut operands, mut width) = (Vec::new(), 1);
        for place in 0..3 {
            let (operand, other) = self.operand(node, place)?;
            width = common(node, width, other)?;
            operands.push(operand);
        }
        self.push(Operation::Choose, operands, output(node, 0)?, width);
        Ok(())
    }

    /// Numbers for numbers, or other names for the classes.
    fn encode(&mut self, node: &Node) -> Result<(), Reason> {
        let input = node.inputs.first().map_or("", String::as_str);
        if let Some(label) = self.labels.get(input).cloned() {
            let (name, classes) = (output(node, 0)?.to_owned(), encoder::classes(node, &label.classes)?);
            self.slots.insert(name.clone(), label.place);
            self.labels.insert(name, Label { classes, ..label });
            return Ok(());
        }
        let (operand, width) = self.columns(node, 0)?;
        let encoding = encoder::numbers(node)?;
        self.push(Operation::Encode(encoding), vec![operand], output(node, 0)?, width);
        Ok(())
    }

    fn vector_classes(&mut self, node: &Node) -> Result<(), Reason> {
        if post(node)? != Post::None {
            return Err("SVMClassifier with a post_transform is not supported".into());
        }
        let (classes, (operand, width)) = (classes(node)?, self.columns(node, 0)?);
        let vectors = VectorClasses::of(node, width, len(&classes))?;
        let (name, scores) = (output(node, 0)?, vectors.scores());
        let place = self.push(Operation::VectorClasses(vectors), vec![operand], name, 1);
        let scores = self.name(node.outputs.get(1).map_or("", String::as_str), scores);
        self.labels.insert(name.to_owned(), Label { place, scores, classes });
        Ok(())
    }

    fn tree_regressor(&mut self, node: &Node) -> Result<(), Reason> {
        let outputs = usize::try_from(node.integer("n_targets", 1)).unwrap_or_default().max(1);
        let (operand, width) = self.columns(node, 0)?;
        let ensemble = Ensemble::of(node, &Leaves { prefix: "target", outputs }, width)?;
        let name = output(node, 0)?;
        let slot = self.push(Operation::Trees(ensemble), vec![operand], name, outputs);
        let operation = match post(node)? {
            Post::None => return Ok(()),
            Post::Logistic => Operation::Unary(Unary::Logistic),
            Post::Softmax => Operation::Softmax,
        };
        self.push(operation, vec![Operand::Columns(slot)], name, outputs);
        Ok(())
    }

    fn tree_classifier(&mut self, node: &Node) -> Result<(), Reason> {
        let classes = classes(node)?;
        let ids = node.integers("class_ids");
        // With two classes the score of one of them is enough.
        let is_single = len(&classes) == 2 && ids.iter().all(|id| Some(id) == ids.first());
        let (operand, width) = self.columns(node, 0)?;
        let outputs = if is_single { 1 } else { len(&classes) };
        if is_single && ids.first() != Some(&0) {
            return Err(
                "TreeEnsembleClassifier with the scores of its second class only is not supported".into()
            );
        }
        let ensemble = Ensemble::of(node, &Leaves { prefix: "class", outputs }, width)?;
        let decide = match (is_single, ensemble.is_positive()) {
            (false, _) => Decide::Greatest(post(node)?),
            (true, true) => Decide::Probability,
            (true, false) => Decide::Sign(post(node)?),
        };
        let slot = self.push(Operation::Trees(ensemble), vec![operand], "", outputs);
        self.decide(node, decide, slot, classes)
    }

    /// The two results of a classifier: its class and its scores.
    fn decide(&mut self, node: &Node, decide: Decide, slot: usize, classes: Elements) -> Result<(), Reason> {
        let name = output(node, 0)?;
        let place = self.push(Operation::Decide(decide), vec![Operand::Columns(slot)], name, 1);
        let scores = self.name(node.outputs.get(1).map_or("", String::as_str), len(&classes));
        self.labels.insert(name.to_owned(), Label { place, scores, classes });
        Ok(())
    }

    fn linear_regressor(&mut self, node: &Node) -> Result<(), Reason> {
        if post(node)? != Post::None {
            return Err("LinearRegressor with a post_transform is not supported".into());
        }
        let targets = usize::try_from(node.integer("targets", 1)).unwrap_or_default().max(1);
        self.linear(node, targets, output(node, 0)?).map(|_| ())
    }

    fn linear_classifier(&mut self, node: &Node) -> Result<(), Reason> {
        let (classes, post) = (classes(node)?, post(node)?);
        let (_, width) = self.columns(node, 0)?;
        let rows = node.numbers("coefficients")?.len() / width.max(1);
        let decide = match (rows, len(&classes), post) {
            (rows, classes, _) if rows == classes => Decide::Greatest(post),
            (1, 2, Post::Logistic) => Decide::Sign(post),
            _ => return Err(format!("LinearClassifier of {rows} scores for {} classes", len(&classes))),
        };
        let slot = self.linear(node, rows, "")?;
        self.decide(node, decide, slot, classes)
    }

    fn linear(&mut self, node: &Node, results: usize, name: &str) -> Result<usize, Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let (weights, bias) = (node.numbers("coefficients")?, node.numbers("intercepts")?);
        if weights.len() != width * results || !(bias.is_empty() || bias.len() == results) {
            return Err(format!("{} has {} coefficients for {width} columns", node.operator, weights.len()));
        }
        let weights = weights.chunks_exact(width).map(<[f64]>::to_vec).collect();
        let bias = if bias.is_empty() { vec![0.0; results] } else { bias };
        Ok(self.push(Operation::Affine { weights, bias }, vec![operand], name, results))
    }

    fn vectors(&mut self, node: &Node) -> Result<(), Reason> {
        if post(node)? != Post::None {
            return Err("SVMRegressor with a post_transform is not supported".into());
        }
        let (operand, width) = self.columns(node, 0)?;
        let vectors = Vectors::of(node, width)?;
        self.push(Operation::Vectors(vectors), vec![operand], output(node, 0)?, 1);
        Ok(())
    }

    fn scaler(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let steps = [(Binary::Sub, node.numbers("offset")?), (Binary::Mul, node.numbers("scale")?)];
        self.chain(node, operand, width, steps)
    }

    fn batch_normalization(&mut self, node: &Node) -> Result<(), Reason> {
        // Before version 14 it is further outputs that ask for it.
        if node.integer("training_mode", 0) != 0 || node.outputs.iter().skip(1).any(|name| !name.is_empty()) {
            return Err("BatchNormalization that learns is not supported".into());
        }
        let (operand, width) = self.columns(node, 0)?;
        let [scale, bias, mean, variance] =
            [1, 2, 3, 4].map(|place| self.numbers(node, place)).map(Result::unwrap_or_default);
        let epsilon = node.float("epsilon", 1e-5);
        let slopes: Vec<f64> = scale
            .iter()
            .zip(&variance)
            .map(|(scale, variance)| scale / (variance + epsilon).sqrt())
            .collect();
        self.chain(node, operand, width, [(Binary::Sub, mean), (Binary::Mul, slopes), (Binary::Add, bias)])
    }

    /// One after the other, each with a constant.
    fn chain<const N: usize>(
        &mut self,
        node: &Node,
        mut operand: Operand,
        width: usize,
        steps: [(Binary, Vec<f64>); N],
    ) -> Result<(), Reason> {
        for (binary, constant) in steps {
            if constant.len() != width && constant.len() != 1 {
                return Err(format!("{} has {} numbers for {width} columns", node.operator, constant.len()));
            }
            let operands = vec![operand, Operand::Constant(constant)];
            operand =
                Operand::Columns(self.push(Operation::Binary(binary), operands, output(node, 0)?, width));
        }
        Ok(())
    }

    /// `Gemm` and `MatMul` with constant weights.
    fn product(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let name = node.inputs.get(1).map_or("", String::as_str);
        let tensor = self.constants.get(name).ok_or_else(|| {
            format!("{} is supported with constants as its second operand only", node.operator)
        })?;
        let (numbers, is_turned) = (tensor.numbers()?, node.integer("transB", 0) != 0);
        let (first, second) = match tensor.dimensions[..] {
            [first, second] => (first, second),
            // A list of weights gives one number a row.
            [first] if !is_turned => (first, 1),
            _ => return Err(format!("{} of weights that are no matrix", node.operator)),
        };
        let (inputs, results) = if is_turned { (second, first) } else { (first, second) };
        if inputs != width || node.integer("transA", 0) != 0 {
            return Err(format!("{} of {inputs} weights for {width} columns", node.operator));
        }
        let at = |input: usize, result: usize| {
            if is_turned { numbers[result * inputs + input] } else { numbers[input * results + result] }
        };
        let alpha = node.float("alpha", 1.0);
        let of = |result: usize| (0..inputs).map(|input| alpha * at(input, result)).collect();
        let weights = (0..results).map(of).collect();
        let is_added = node.inputs.get(2).is_some_and(|name| self.slot(name).is_some());
        let bias = match node.inputs.get(2) {
            Some(name) if !name.is_empty() && !is_added => self.numbers(node, 2)?,
            _ => vec![0.0],
        };
        let bias: Vec<f64> = match bias.len() {
            1 => vec![bias[0]; results],
            n if n == results => bias,
            n => return Err(format!("{} has {n} biases for {results} results", node.operator)),
        };
        let beta = node.float("beta", 1.0);
        let bias = bias.into_iter().map(|bias| beta * bias).collect();
        let product =
            self.push(Operation::Affine { weights, bias }, vec![operand], output(node, 0)?, results);
        if is_added {
            // What is added is of the row, too.
            let (added, width) = self.columns(node, 2)?;
            common(node, results, width)?;
            let scaled = vec![added, Operand::Constant(vec![beta])];
            let scaled = self.push(Operation::Binary(Binary::Mul), scaled, "", width);
            let operands = vec![Operand::Columns(product), Operand::Columns(scaled)];
            self.push(Operation::Binary(Binary::Add), operands, output(node, 0)?, results);
        }
        Ok(())
    }

    fn arg_max(&mut self, node: &Node) -> Result<(), Reason> {
        if ![1, -1].contains(&node.integer("axis", 0)) || node.integer("select_last_index", 0) != 0 {
            return Err("ArgMax is supported along the columns only, for the first of equal ones".into());
        }
        let (operand, width) = self.columns(node, 0)?;
        let Operand::Columns(scores) = operand else { return Err("ArgMax of a constant".into()) };
        self.place_of(scores, width, output(node, 0)?);
        Ok(())
    }

    fn pick(&mut self, node: &Node) -> Result<(), Reason> {
        if ![1, -1].contains(&node.integer("axis", 0)) {
            return Err("Gather is supported along the columns only".into());
        }
        self.picked(node)
    }

    /// Some columns; or the names of classes by their places.
    fn extract(&mut self, node: &Node) -> Result<(), Reason> {
        let names = node.inputs.first().and_then(|name| self.constants.get(name));
        let Some(classes) = names.map(|tensor| tensor.values.clone()) else { return self.picked(node) };
        let label = node.inputs.get(1).and_then(|name| self.labels.get(name));
        let label = label.ok_or("ArrayFeatureExtractor of a constant is supported after ArgMax only")?;
        let label = Label { classes, ..label.clone() };
        let name = output(node, 0)?.to_owned();
        self.slots.insert(name.clone(), label.place);
        self.labels.insert(name, label);
        Ok(())
    }

    fn picked(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let mut picked = Vec::new();
        for number in self.numbers(node, 1)? {
            let column = (0..width).find(|column| (super::number(*column) - number).abs() < 0.5);
            picked.push(column.ok_or_else(|| format!("{} reads column {number} of {width}", node.operator))?);
        }
        let picks = picked.len();
        self.push(Operation::Pick(picked), vec![operand], output(node, 0)?, picks);
        Ok(())
    }

    fn constant(&mut self, node: &Node) -> Result<(), Reason> {
        let number = |values| Tensor { dimensions: Vec::new(), values: Elements::Numbers(values) };
        let tensor = match node.attributes.iter().next() {
            Some((name, attribute)) => match (name.as_str(), &attribute.tensor) {
                ("value", Some(tensor)) => Some(tensor.clone()),
                ("value_float", _) => Some(number(vec![attribute.float])),
                ("value_floats", _) => Some(number(attribute.floats.clone())),
                _ => None,
            },
            None => None,
        };
        let tensor = tensor.ok_or("a Constant of its form is not supported")?;
        self.constants.insert(output(node, 0)?.to_owned(), tensor);
        Ok(())
    }

    fn clip(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let limit = |place: usize, otherwise: f64| match node.inputs.get(place) {
            Some(name) if !name.is_empty() => self.numbers(node, place),
            _ => Ok(vec![otherwise]),
        };
        let least = limit(1, node.float("min", f64::NEG_INFINITY))?;
        let greatest = limit(2, node.float("max", f64::INFINITY))?;
        self.chain(node, operand, width, [(Binary::Greatest, least), (Binary::Least, greatest)])
    }

    fn cast(&mut self, node: &Node) -> Result<(), Reason> {
        let name = node.inputs.first().map_or("", String::as_str);
        let is_number = !self.labels.contains_key(name);
        match node.integer("to", 0) {
            element::FLOAT | element::DOUBLE => self.same(node),
            element::INT64 | element::INT32 if is_number => {
                let (operand, width) = self.columns(node, 0)?;
                self.push(Operation::Unary(Unary::Truncate), vec![operand], output(node, 0)?, width);
                Ok(())
            }
            element::INT64 | element::INT32 | element::STRING => self.same(node),
            element::BOOL if is_number => {
                let (operand, width) = self.columns(node, 0)?;
                self.push(Operation::Unary(Unary::Truth), vec![operand], output(node, 0)?, width);
                Ok(())
            }
            other => Err(format!("Cast to type {other} is not supported")),
        }
    }

    /// Nothing is dropped but while a net learns.
    fn dropout(&mut self, node: &Node) -> Result<(), Reason> {
        let learns = match node.inputs.get(2) {
            Some(name) if !name.is_empty() => self.numbers(node, 2)?,
            _ => Vec::new(),
        };
        if learns.iter().any(|flag| *flag != 0.0) {
            return Err("Dropout that learns is not supported".into());
        }
        self.same(node)
    }

    /// Another name.
    fn same(&mut self, node: &Node) -> Result<(), Reason> {
        let (input, output) = (node.inputs.first().map_or("", String::as_str), output(node, 0)?.to_owned());
        if let Some(tensor) = self.constants.get(input).cloned() {
            self.constants.insert(output, tensor);
            return Ok(());
        }
        let slot = self.slot(input).ok_or_else(|| unknown(input))?;
        if let Some(label) = self.labels.get(input).cloned() {
            self.labels.insert(output.clone(), label);
        }
        self.slots.insert(output, slot);
        Ok(())
    }

    fn operand(&self, node: &Node, place: usize) -> Result<(Operand, usize), Reason> {
        let name = node.inputs.get(place).map_or("", String::as_str);
        if let Some(slot) = self.slot(name) {
            if self.forms.contains_key(&slot) {
                return Err(three_dimensions(node));
            }
            return Ok((Operand::Columns(slot), self.widths[slot]));
        }
        let numbers = self.numbers(node, place)?;
        let width = numbers.len();
        let rows: usize = self.constants[name].dimensions.iter().rev().skip(1).product();
        if rows != 1 || width == 0 {
            return Err(format!("{} with a constant for each row is not supported", node.operator));
        }
        Ok((Operand::Constant(numbers), width))
    }

    /// An operand that is no constant, and a table of rows and columns.
    fn columns(&self, node: &Node, place: usize) -> Result<(Operand, usize), Reason> {
        let (operand, width) = self.any_columns(node, place)?;
        match self.form(&operand) {
            None => Ok((operand, width)),
            Some(_) => Err(three_dimensions(node)),
        }
    }

    /// An operand that is no constant.
    fn any_columns(&self, node: &Node, place: usize) -> Result<(Operand, usize), Reason> {
        let name = node.inputs.get(place).map_or("", String::as_str);
        let slot = self.slot(name).ok_or_else(|| unknown(name))?;
        Ok((Operand::Columns(slot), self.widths[slot]))
    }

    fn numbers(&self, node: &Node, place: usize) -> Result<Vec<f64>, Reason> {
        let name = node.inputs.get(place).map_or("", String::as_str);
        self.constants.get(name).ok_or_else(|| unknown(name))?.numbers()
    }
}

/// The columns of two operands together: as many in both, or one for all.
fn common(node: &Node, width: usize, other: usize) -> Result<usize, Reason> {
    if width != other && width.min(other) != 1 {
        return Err(format!("{} of {width} and {other} columns", node.operator));
    }
    Ok(width.max(other))
}

fn three_dimensions(node: &Node) -> Reason {
    format!("{} of a tensor of three dimensions is not supported", node.operator)
}

fn unknown(name: &str) -> Reason {
    format!("{name:?} is read before it is made, or is a constant where columns belong")
}

fn output(node: &Node, place: usize) -> Result<&str, Reason> {
    let name = node.outputs.get(place).map(String::as_str);
    name.ok_or_else(|| format!("{} has no output", node.operator))
}

fn post(node: &Node) -> Result<Post, Reason> {
    match node.text("post_transform") {
        "" | "NONE" => Ok(Post::None),
        "LOGISTIC" => Ok(Post::Logistic),
        "SOFTMAX" => Ok(Post::Softmax),
        other => Err(format!("post_transform {other:?} is not supported")),
    }
}

/// The classes of a classifier.
fn classes(node: &Node) -> Result<Elements, Reason> {
    let numbers =
        ["classlabels_int64s", "classlabels_ints"].map(|name| node.integers(name).to_vec()).concat();
    let texts = node.texts("classlabels_strings");
    match (numbers.is_empty(), texts.is_empty()) {
        (false, true) => Ok(Elements::Integers(numbers)),
        (true, false) => Ok(Elements::Texts(texts.to_vec())),
        _ => Err(format!("{} has no names of classes", node.operator)),
    }
}

pub(super) fn len(classes: &Elements) -> usize {
    match classes {
        Elements::Numbers(classes) => classes.len(),
        Elements::Integers(classes) => classes.len(),
        Elements::Texts(classes) => classes.len(),
    }
}
