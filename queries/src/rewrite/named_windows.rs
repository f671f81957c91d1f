//! `OVER (w ROWS 2 PRECEDING)`: a window that goes on from a named one. DataFusion knows `OVER w` alone, in the `SELECT` list
//! alone, and passes over the name in any other.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr, VisitMut, VisitorMut,
    WindowSpec, WindowType,
};

/// Puts what a name stands for in the place of the name.
pub(super) fn rewrite(query: &mut Query) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = query.visit(&mut Scopes);
}

/// Goes from the innermost query outwards, so that a name is first looked for where it is used.
struct Scopes;

impl VisitorMut for Scopes {
    type Break = std::convert::Infallible;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let mut calls = Calls { windows: defined(&select.named_window) };
        select.projection.visit(&mut calls)?;
        select.qualify.visit(&mut calls)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let SetExpr::Select(select) = query.body.as_ref() else { return ControlFlow::Continue(()) };
        let mut calls = Calls { windows: defined(&select.named_window) };
        query.order_by.visit(&mut calls)
    }
}

/// Windows by their names, each in full.
type Windows = Vec<(String, WindowSpec)>;

fn defined(definitions: &[NamedWindowDefinition]) -> Windows {
    let mut windows = Windows::new();
    for NamedWindowDefinition(name, window) in definitions {
        let window = match window {
            NamedWindowExpr::NamedWindow(other) => found(&windows, other).cloned(),
            NamedWindowExpr::WindowSpec(window) => whole(window, &windows),
        };
        windows.extend(window.map(|window| (folded(name), window)));
    }
    windows
}

fn found<'a>(windows: &'a Windows, name: &Ident) -> Option<&'a WindowSpec> {
    let name = folded(name);
    windows.iter().find(|(known, _)| *known == name).map(|(_, window)| window)
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// A window with what it takes from the one that it goes on from; `None` if there is no such window.
fn whole(window: &WindowSpec, windows: &Windows) -> Option<WindowSpec> {
    let Some(name) = &window.window_name else { return Some(window.clone()) };
    let mut whole = found(windows, name)?.clone();
    if !window.partition_by.is_empty() {
        whole.partition_by.clone_from(&window.partition_by);
    }
    if !window.order_by.is_empty() {
        whole.order_by.clone_from(&window.order_by);
    }
    if window.window_frame.is_some() {
        whole.window_frame.clone_from(&window.window_frame);
    }
    Some(whole)
}

struct Calls {
    windows: Windows,
}

impl VisitorMut for Calls {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let Some(over) = &mut call.over else { return ControlFlow::Continue(()) };
        let full = match over {
            WindowType::NamedWindow(name) => found(&self.windows, name).cloned(),
            WindowType::WindowSpec(window) => whole(window, &self.windows),
        };
        match (full, &over) {
            (Some(full), _) => *over = WindowType::WindowSpec(full),
            // DataFusion says that there is none of this name.
            (None, WindowType::WindowSpec(WindowSpec { window_name: Some(name), .. })) => {
                *over = WindowType::NamedWindow(name.clone());
            }
            (None, _) => {}
        }
        ControlFlow::Continue(())
    }
}
