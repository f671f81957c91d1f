//! Tables in a table: tensors of three dimensions, one of which is the rows.
//!
//! A tensor `[rows, a, b]` is kept as `a * b` columns, row by row of its tables, and one of layers, `[l, rows, k]`, as the columns of
//! one layer after the other. What reads two of different forms picks the columns that meet, so no step has to know of forms.

use super::super::graph::Node;
use super::super::operation::{Operand, Operation, Summary};
use super::super::{Reason, number};
use super::{Builder, Label, output};

/// How the columns of a number stand to each other; those without a form are columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A table of so many lines and columns for each row.
    Table([usize; 2]),
    /// So many layers of so many columns.
    Layers([usize; 2]),
}

impl Form {
    /// How many columns there are.
    pub(super) fn width(self) -> usize {
        self.sizes().iter().product()
    }

    fn sizes(self) -> [usize; 2] {
        let (Self::Table(sizes) | Self::Layers(sizes)) = self;
        sizes
    }
}

impl Builder {
    pub(super) fn form(&self, operand: &Operand) -> Option<Form> {
        let Operand::Columns(slot) = operand else { return None };
        self.forms.get(slot).copied()
    }

    /// A step whose result has a form.
    fn push_form(&mut self, operation: Operation, operand: Operand, name: &str, form: Form) {
        let [lines, columns] = form.sizes();
        let slot = self.push(operation, vec![operand], name, lines * columns);
        self.forms.insert(slot, form);
    }

    /// Another form of the same columns.
    pub(super) fn reshape(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.any_columns(node, 0)?;
        let form = self.form(&operand);
        let is_layered = matches!(form, Some(Form::Layers([layers, _])) if layers > 1);
        let wanted = match node.operator.as_str() {
            "Flatten" if node.integer("axis", 1) == 1 => vec![0.0, number(width)],
            "Squeeze" if width == 1 => vec![-1.0],
            "Reshape" => self.numbers(node, 1)?,
            _ => Vec::new(),
        };
        // Zero is the number of rows that there are, or no row.
        let zero_is_none = node.integer("allowzero", 0) != 0;
        let is_rows = |size: f64| size < 0.0 || size == 0.0 && !zero_is_none;
        let is = |size: f64, count: usize| (size - number(count)).abs() < 0.5;
        let fits = |wanted: f64, size: usize| wanted < 0.0 || is(wanted, size);
        let sizes = |lines: f64, columns: f64| {
            let mut all = (1..=width).map(|lines| [lines, width / lines]);
            all.find(|[a, b]| a * b == width && fits(lines, *a) && fits(columns, *b))
        };
        let form = match wanted[..] {
            _ if is_layered => return Err(other_rows(node)),
            [rows] if width == 1 && rows < 0.0 => None,
            [rows, columns] if is_rows(rows) && (columns < 0.0 || is(columns, width)) => None,
            [layers, rows, columns] if is(layers, 1) && rows < 0.0 && is(columns, width) => {
                Some(Form::Layers([1, width]))
            }
            [rows, lines, columns] if is_rows(rows) => {
                Some(Form::Table(sizes(lines, columns).ok_or_else(|| other_rows(node))?))
            }
            _ => return Err(other_rows(node)),
        };
        match form {
            Some(form) => {
                self.push_form(Operation::Pick((0..width).collect()), operand, output(node, 0)?, form)
            }
            None if self.form(&operand).is_some() => {
                self.push(Operation::Pick((0..width).collect()), vec![operand], output(node, 0)?, width);
            }
            None => return self.same(node),
        }
        Ok(())
    }

    /// Columns side by side, or layers one behind the other.
    pub(super) fn concat(&mut self, node: &Node) -> Result<(), Reason> {
        let operands: Result<Vec<_>, _> =
            (0..node.inputs.len()).map(|place| self.any_columns(node, place)).collect();
        let (operands, widths): (Vec<_>, Vec<_>) = operands?.into_iter().unzip();
        let forms: Vec<Option<Form>> = operands.iter().map(|operand| self.form(operand)).collect();
        let (axis, width) = (node.integer("axis", 0), widths.iter().sum::<usize>());
        let form = match forms.first() {
            Some(Some(Form::Layers([_, columns]))) if axis == 0 => {
                Some(Form::Layers([width / columns.max(&1), *columns]))
            }
            Some(None) if [1, -1].contains(&axis) => None,
            _ => return Err("Concat is supported along the columns only".into()),
        };
        let is_alike = |other: &Option<Form>| match (form, other) {
            (Some(form), Some(other)) => form.sizes()[1] == other.sizes()[1],
            (form, other) => form.is_none() && other.is_none(),
        };
        if !forms.iter().all(is_alike) {
            return Err("Concat of tensors of different forms is not supported".into());
        }
        let slot = self.push(Operation::Concat, operands, output(node, 0)?, width);
        self.forms.extend(form.map(|form| (slot, form)));
        Ok(())
    }

    /// The two operands with as many columns each, and the form of both, if one of them has a form.
    pub(super) fn meet(
        &mut self,
        node: &Node,
        places: [usize; 2],
    ) -> Result<Option<([Operand; 2], Form)>, Reason> {
        let forms = places.map(|place| {
            let name = node.inputs.get(place).map_or("", String::as_str);
            self.slot(name).and_then(|slot| self.forms.get(&slot).copied())
        });
        let (mut form, others) = match forms {
            [None, None] => return Ok(None),
            [Some(Form::Layers(sizes)), other] | [other, Some(Form::Layers(sizes))] => {
                (Form::Layers(sizes), other)
            }
            [Some(form), other] | [None, other @ Some(form)] => (form, other),
        };
        if matches!(others, Some(other) if matches!(other, Form::Layers(_)) != matches!(form, Form::Layers(_)))
        {
            return Err(format!("{} of layers and tables is not supported", node.operator));
        }
        let mut sides = Vec::with_capacity(2);
        for place in places {
            sides.push(self.side(node, place)?);
        }
        let sizes = [0, 1].map(|axis| sides.iter().map(|(_, sizes)| sizes[axis]).max().unwrap_or(1));
        if sides.iter().any(|(_, own)| (0..2).any(|axis| own[axis] != sizes[axis] && own[axis] != 1)) {
            return Err(format!("{} of tensors that do not fit is not supported", node.operator));
        }
        form = match form {
            Form::Table(_) => Form::Table(sizes),
            Form::Layers(_) => Form::Layers(sizes),
        };
        let mut spread = sides.into_iter().map(|(operand, own)| self.spread(operand, own, sizes));
        let (Some(left), Some(right)) = (spread.next(), spread.next()) else { return Ok(None) };
        Ok(Some(([left, right], form)))
    }

    /// An operand, and its lines and columns.
    fn side(&self, node: &Node, place: usize) -> Result<(Operand, [usize; 2]), Reason> {
        let name = node.inputs.get(place).map_or("", String::as_str);
        if let Some(slot) = self.slot(name) {
            let sizes = match (self.forms.get(&slot), self.widths[slot]) {
                (Some(form), _) => form.sizes(),
                (None, 1) => [1, 1],
                _ => return Err(format!("{} of tensors of different forms is not supported", node.operator)),
            };
            return Ok((Operand::Columns(slot), sizes));
        }
        let numbers = self.numbers(node, place)?;
        let sizes = match self.constants[name].dimensions[..] {
            [] => [1, 1],
            [columns] => [1, columns],
            [lines, columns] | [1, lines, columns] => [lines, columns],
            _ => return Err(format!("{} with a constant for each row is not supported", node.operator)),
        };
        Ok((Operand::Constant(numbers), sizes))
    }

    fn spread(&mut self, operand: Operand, own: [usize; 2], sizes: [usize; 2]) -> Operand {
        let place = |line: usize, column: usize| line.min(own[0] - 1) * own[1] + column.min(own[1] - 1);
        let places = (0..sizes[0]).flat_map(|line| (0..sizes[1]).map(move |column| place(line, column)));
        match operand {
            Operand::Constant(numbers) => Operand::Constant(places.map(|place| numbers[place]).collect()),
            operand if own == sizes => operand,
            operand => {
                let slot =
                    self.push(Operation::Pick(places.collect()), vec![operand], "", sizes[0] * sizes[1]);
                Operand::Columns(slot)
            }
        }
    }

    /// `ReduceSum` and its like, along one of the axes that are no rows.
    pub(super) fn summarize(&mut self, node: &Node) -> Result<(), Reason> {
        let summary = match node.operator.as_str() {
            "ReduceSum" => Summary::Sum,
            "ReduceMean" => Summary::Mean,
            "ReduceMax" => Summary::Greatest,
            "ReduceMin" => Summary::Least,
            "ReduceProd" => Summary::Product,
            "ReduceSumSquare" => Summary::Squares,
            "ReduceL1" => Summary::Magnitudes,
            "ReduceL2" => Summary::Length,
            _ => Summary::LogSumExp,
        };
        let (operand, width) = self.any_columns(node, 0)?;
        let axes = match node.inputs.get(1) {
            Some(name) if !name.is_empty() => self.numbers(node, 1)?,
            #[expect(clippy::cast_precision_loss, reason = "an axis is small")]
            _ => node.integers("axes").iter().map(|axis| *axis as f64).collect(),
        };
        let along = |axis: f64| axes.len() == 1 && (axes[0] - axis).abs() < 0.5;
        let form = self.form(&operand);
        // Which columns stay, of how many lines, and whether it is lines that are summed up.
        let ([lines, columns], is_lines) = match form {
            None if along(1.0) || along(-1.0) => ([1, width], false),
            Some(Form::Table(sizes)) if along(2.0) || along(-1.0) => (sizes, false),
            Some(Form::Table(sizes)) if along(1.0) || along(-2.0) => (sizes, true),
            Some(Form::Layers(sizes)) if along(0.0) => (sizes, true),
            Some(Form::Layers(sizes)) if along(2.0) || along(-1.0) => (sizes, false),
            _ => return Err(format!("{} is supported along the columns only", node.operator)),
        };
        let groups: Vec<Vec<usize>> = match is_lines {
            true => {
                (0..columns).map(|column| (0..lines).map(|line| line * columns + column).collect()).collect()
            }
            false => (0..lines).map(|line| (line * columns..(line + 1) * columns).collect()).collect(),
        };
        let keeps = node.integer("keepdims", 1) != 0;
        let left = match (form, is_lines) {
            (Some(Form::Table(_)), true) if keeps => Some(Form::Table([1, columns])),
            (Some(Form::Table(_)), false) if keeps => Some(Form::Table([lines, 1])),
            (Some(Form::Layers(_)), true) if keeps => Some(Form::Layers([1, columns])),
            (Some(Form::Layers(_)), false) => Some(Form::Layers([lines, 1])),
            _ => None,
        };
        let results = groups.len();
        let slot = self.push(Operation::Summarize(summary, groups), vec![operand], output(node, 0)?, results);
        self.forms.extend(left.map(|form| (slot, form)));
        Ok(())
    }

    /// The columns that a slice along the columns leaves.
    pub(super) fn slice(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let list = |place: usize, otherwise: f64| match node.inputs.get(place) {
            Some(name) if !name.is_empty() => self.numbers(node, place),
            _ => Ok(vec![otherwise]),
        };
        let (starts, ends, axes, steps) =
            (list(1, 0.0)?, list(2, f64::INFINITY)?, list(3, 0.0)?, list(4, 1.0)?);
        let ([start], [end], [axis], [step]) = (&starts[..], &ends[..], &axes[..], &steps[..]) else {
            return Err("Slice is supported along one axis only".into());
        };
        let is_columns = (axis - 1.0).abs() < 0.5 || (axis + 1.0).abs() < 0.5;
        if !is_columns || *step < 1.0 {
            return Err("Slice is supported along the columns only, forwards".into());
        }
        // A place below zero counts from the end.
        let from_start = |place: f64| if place < 0.0 { place + number(width) } else { place };
        let (start, end) = (from_start(*start), from_start(*end));
        let is_picked = |column: &usize| {
            let place = number(*column);
            place >= start && place < end && (place - start.max(0.0)).rem_euclid(*step) < 0.5
        };
        let picked: Vec<usize> = (0..width).filter(is_picked).collect();
        let picks = picked.len();
        self.push(Operation::Pick(picked), vec![operand], output(node, 0)?, picks);
        Ok(())
    }

    /// The place of the least column.
    pub(super) fn arg_min(&mut self, node: &Node) -> Result<(), Reason> {
        let (operand, width) = self.columns(node, 0)?;
        let is_plain =
            [1, -1].contains(&node.integer("axis", 0)) && node.integer("select_last_index", 0) == 0;
        if !is_plain {
            return Err("ArgMin is supported along the columns only, for the first of equal ones".into());
        }
        let negated = Operation::Unary(super::Unary::Neg);
        let scores = self.push(negated, vec![operand], "", width);
        self.place_of(scores, width, output(node, 0)?);
        Ok(())
    }

    /// The place of the greatest of these columns, which is the number of a class.
    pub(super) fn place_of(&mut self, scores: usize, width: usize, name: &str) {
        let place = self.push(Operation::ArgMax, vec![Operand::Columns(scores)], name, 1);
        let classes = super::Elements::Integers((0_i64..).take(width).collect());
        self.labels.insert(name.to_owned(), Label { place, scores, classes });
    }
}

fn other_rows(node: &Node) -> Reason {
    format!("{} to other rows is not supported", node.operator)
}
