//! Puts mutants into a file as switches: `a < b` becomes `match mutant_on(&[7]) { 7 => a <= b, _ => a < b }`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proc_macro2::{LineColumn, Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, Block, Expr, ExprMatch, LitInt, Pat, Stmt};

use crate::list::{Genre, Mutant, Place};

/// Added to the numbers in the code, so that a compiler's message leads to the mutant.
pub const MARK: u32 = 9_000_000;

/// The text of a file with its mutants in it, and the numbers of those that found their place.
pub fn switch(text: &str, mutants: &[Mutant]) -> Result<(String, Vec<u32>)> {
    let mut file = syn::parse_file(text)?;
    let mut switcher = Switcher::default();
    for mutant in mutants {
        switcher.waiting.entry(mutant.start).or_default().push(mutant.clone());
    }
    switcher.visit_file_mut(&mut file);
    match switcher.failed {
        Some(e) => Err(e),
        None => Ok((prettyplease::unparse(&file), switcher.placed)),
    }
}

#[derive(Default)]
struct Switcher {
    waiting: BTreeMap<Place, Vec<Mutant>>,
    placed: Vec<u32>,
    /// Whether the match whose arm comes next has one for all that the others leave.
    has_rest: bool,
    failed: Option<anyhow::Error>,
}

fn place(at: LineColumn) -> Place {
    Place { line: at.line, column: at.column + 1 }
}

fn number(n: u32) -> LitInt {
    LitInt::new(&format!("{n}u32"), Span::call_site())
}

/// Whether an operand is a `let` of a condition's chain: it stands where it stands.
fn has_let(e: &Expr) -> bool {
    match e {
        Expr::Let(_) => true,
        Expr::Binary(b) => has_let(&b.left) || has_let(&b.right),
        _ => false,
    }
}

impl Switcher {
    fn take(&mut self, at: Place, genre: Genre) -> Vec<Mutant> {
        let Some(here) = self.waiting.get_mut(&at) else { return Vec::new() };
        let (taken, left) = std::mem::take(here).into_iter().partition(|m| m.genre == genre);
        *here = left;
        taken
    }

    /// The call that says which of these is on.
    fn which(&mut self, mutants: &[Mutant]) -> TokenStream {
        self.placed.extend(mutants.iter().map(|m| m.id));
        let ids = mutants.iter().map(|m| number(m.id));
        quote!(crate::mutant_on(&[#(#ids),*]))
    }

    fn parsed<T: syn::parse::Parse>(&mut self, text: &str) -> Option<T> {
        match syn::parse_str(text) {
            Ok(parsed) => Some(parsed),
            Err(e) => {
                self.failed = Some(anyhow::Error::new(e).context(format!("cannot parse {text}")));
                None
            }
        }
    }

    /// One of these, or the expression as it was.
    fn choose(&mut self, old: &mut Expr, mutants: &[Mutant], new: Vec<TokenStream>) {
        if mutants.is_empty() {
            return;
        }
        let which = self.which(mutants);
        let marks = mutants.iter().map(|m| number(MARK + m.id));
        let chosen = quote!((match #which { #(#marks => #new,)* _ => #old }));
        match syn::parse2(chosen).context("a switch that is no expression") {
            Ok(e) => *old = e,
            Err(e) => self.failed = Some(e),
        }
    }

    fn body(&mut self, block: &mut Block) {
        let Some(first) = block.stmts.first() else { return };
        let mutants = self.take(place(first.span().start()), Genre::FnValue);
        visit_mut::visit_block_mut(self, block);
        if mutants.is_empty() {
            return;
        }
        let new: Vec<Expr> = mutants.iter().filter_map(|m| self.parsed(&m.replacement)).collect();
        let which = self.which(&mutants);
        let marks = mutants.iter().map(|m| number(MARK + m.id));
        match syn::parse2::<Stmt>(quote!(match #which { #(#marks => { return #new; })* _ => {} })) {
            Ok(stmt) => block.stmts.insert(0, stmt),
            Err(e) => self.failed = Some(e.into()),
        }
    }

    fn operator(&mut self, e: &mut Expr) {
        let (at, genre, is_fixed) = match &*e {
            Expr::Binary(b) => (b.op.span().start(), Genre::BinaryOperator, has_let(&b.left) || has_let(&b.right)),
            Expr::Unary(u) => (u.op.span().start(), Genre::UnaryOperator, false),
            _ => return visit_mut::visit_expr_mut(self, e),
        };
        let mutants = if is_fixed { Vec::new() } else { self.take(place(at), genre) };
        visit_mut::visit_expr_mut(self, e);
        let mut new = Vec::new();
        for mutant in &mutants {
            match &*e {
                Expr::Binary(b) => {
                    let Some(op) = self.parsed::<syn::BinOp>(mutant.replacement.trim()) else { return };
                    let (left, right) = (&b.left, &b.right);
                    // In brackets, as `a as u64 <` would begin a list of types.
                    new.push(quote!((#left) #op #right));
                }
                Expr::Unary(u) => {
                    let operand = &u.expr;
                    new.push(quote!(#operand));
                }
                _ => {}
            }
        }
        self.choose(e, &mutants, new);
    }

    fn structure(&mut self, e: &mut Expr) {
        let Expr::Struct(s) = &*e else { return };
        let places: Vec<Place> = s.fields.iter().map(|f| place(f.span().start())).collect();
        let hits: Vec<(usize, Mutant)> = (0..places.len())
            .flat_map(|i| self.take(places[i], Genre::StructField).into_iter().map(move |m| (i, m)))
            .collect();
        visit_mut::visit_expr_mut(self, e);
        let Expr::Struct(s) = &*e else { return };
        let without = |left_out: usize| {
            let mut without = s.clone();
            let others = s.fields.iter().enumerate().filter(|(i, _)| *i != left_out);
            without.fields = others.map(|(_, field)| field.clone()).collect();
            if !without.fields.is_empty() {
                without.fields.push_punct(Default::default());
            }
            quote!(#without)
        };
        let new = hits.iter().map(|(i, _)| without(*i)).collect();
        let mutants: Vec<Mutant> = hits.into_iter().map(|(_, m)| m).collect();
        self.choose(e, &mutants, new);
    }
}

impl VisitMut for Switcher {
    // What is computed by the compiler cannot be switched.
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_item_static_mut(&mut self, _: &mut syn::ItemStatic) {}

    fn visit_item_fn_mut(&mut self, f: &mut syn::ItemFn) {
        if f.sig.constness.is_none() {
            self.body(&mut f.block);
        }
    }

    fn visit_impl_item_fn_mut(&mut self, f: &mut syn::ImplItemFn) {
        if f.sig.constness.is_none() {
            self.body(&mut f.block);
        }
    }

    fn visit_expr_mut(&mut self, e: &mut Expr) {
        if matches!(e, Expr::Struct(_)) { self.structure(e) } else { self.operator(e) }
    }

    fn visit_expr_match_mut(&mut self, e: &mut ExprMatch) {
        let is_rest = |arm: &Arm| arm.guard.is_none() && matches!(arm.pat, Pat::Wild(_) | Pat::Ident(_));
        let has_rest = e.arms.iter().any(is_rest);
        self.visit_expr_mut(&mut e.expr);
        for arm in &mut e.arms {
            self.has_rest = has_rest;
            self.visit_arm_mut(arm);
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        // Without a last arm for the rest no other can have a condition.
        let at = place(arm.pat.span().start());
        let left_out = if self.has_rest { self.take(at, Genre::MatchArm) } else { Vec::new() };
        let guard = arm.guard.as_ref().map(|(_, guard)| place(guard.span().start()));
        let constant = guard.map(|at| self.take(at, Genre::MatchArmGuard)).unwrap_or_default();
        visit_mut::visit_arm_mut(self, arm);
        let new = constant.iter().filter_map(|m| self.parsed::<Expr>(&m.replacement)).map(|e| quote!(#e)).collect();
        if let Some((_, guard)) = &mut arm.guard {
            self.choose(guard, &constant, new);
        }
        let Some(mark) = left_out.first().map(|m| number(MARK + m.id)) else { return };
        let which = self.which(&left_out);
        let guard = match arm.guard.take() {
            None => quote!(#which != #mark),
            Some((_, guard)) => quote!(#which != #mark && (#guard)),
        };
        arm.guard = self.parsed::<Expr>(&guard.to_string()).map(|e| (Default::default(), Box::new(e)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_becomes_a_switch_and_nothing_else_changes() {
        let text = "fn f(a: u8, b: u16) -> bool { a as u16 > b }";
        let at = |line, column| Place { line, column };
        let mutant = |id, genre, replacement: &str, start, end| Mutant {
            id,
            genre,
            replacement: replacement.into(),
            start,
            end,
            file: "f.rs".into(),
            name: String::new(),
            is_opaque: false,
        };
        let mutants = [
            mutant(1, Genre::BinaryOperator, "<", at(1, 40), at(1, 41)),
            mutant(2, Genre::FnValue, "true", at(1, 31), at(1, 43)),
            mutant(3, Genre::UnaryOperator, "", at(1, 1), at(1, 2)),
        ];
        let (text, placed) = switch(text, &mutants).unwrap();
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("9000001u32 => (a as u16) < b, _ => a as u16 > b,"), "{text}");
        assert!(text.contains("9000002u32 => { return true; }"), "{text}");
        assert_eq!(placed, [1, 2], "the third stands nowhere");
    }
}
