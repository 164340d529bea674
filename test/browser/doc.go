// Package browser answers: can a person do it all, in a real browser?
//
// Its tests run Chromium against the product as it is shipped. A [visitor] does what a person does (clicks, types and
// reads) and finds things as a screen reader does, by role and name, so that what has no name cannot be used. Each
// story runs from an empty installation three times: with JavaScript, without it, and by the keyboard alone, unless
// others have tried the same controls by it. Several people may be in one story, each with a browser of their own.
//
// Whatever a story is about, on the way every page is looked at: one h1 and headings in order, a name on every control,
// language and title, no complaint of axe-core in light or dark, no scrolling sideways on small phones, nothing that moves by itself, no request to anybody else,
// and a console that stays empty. `make pictures` has them leave pictures of the pages in .artifacts/screenshots.
package browser
