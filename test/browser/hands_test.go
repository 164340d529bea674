package browser

import (
	"context"
	"fmt"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// clickOn uses a control: with the mouse, or by the keyboard where the story is played without one.
func (v *visitor) clickOn(c control) {
	v.t.Helper()
	if !v.scene.keyboard {
		v.pointAt(c)
		return
	}
	v.tabOnto(c)
	switch c.role {
	case "textbox", "searchbox", "combobox":
	case "checkbox":
		v.keys(" ")
	default:
		v.keys(kb.Enter)
	}
}

// pointAt moves the mouse to the middle of a control and presses its button there.
func (v *visitor) pointAt(c control) {
	v.t.Helper()
	call(v, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: c.node})
	quads := call(v, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: c.node}).Quads
	if len(quads) == 0 || len(quads[0]) != 8 {
		v.t.Fatalf("%s %q takes no room on the page\n%s", c.role, c.name, v.where())
	}
	var x, y float64
	for i := 0; i < 8; i += 2 {
		x, y = x+quads[0][i]/4, y+quads[0][i+1]/4
	}
	ctx, cancel := context.WithTimeout(v.tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.MouseEvent(chromedp.MouseMoved, x, y), chromedp.MouseClickXY(x, y)); err != nil {
		v.t.Fatalf("clicking on %s %q: %v", c.role, c.name, err)
	}
}

// tabOnto presses Tab until a control has the keyboard, and sees to it that a person can see that. The longest page
// has far fewer stops than it tries.
func (v *visitor) tabOnto(c control) {
	v.t.Helper()
	for range 200 {
		if v.active() == c.node {
			v.focusShows()
			return
		}
		v.keys(kb.Tab)
	}
	v.t.Fatalf("the keyboard does not reach %s %q\n%s", c.role, c.name, v.where())
}

// active is the node that has the keyboard.
func (v *visitor) active() cdp.BackendNodeID {
	r, err := try(v, runtime.Evaluate, runtime.EvaluateParams{Expression: "document.activeElement"})
	if err != nil || r.Result.ObjectID == "" {
		return 0 // between two pages
	}
	node, err := try(v, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: r.Result.ObjectID})
	if err != nil {
		return 0
	}
	return node.Node.BackendNodeID
}

// choose takes one of the radio buttons that stand together under a legend.
func (v *visitor) choose(legend, name string) {
	v.t.Helper()
	var c control
	v.await(fmt.Sprintf("the choice %q of %q", name, legend), func() bool {
		under := false
		for _, i := range v.controls() {
			if i.role == "group" {
				under = i.name == legend
			}
			if c = i; under && i.role == "radio" && i.name == name && !i.disabled {
				return true
			}
		}
		return false
	})
	if !v.scene.keyboard {
		v.pointAt(c)
		return
	}
	// Tab stops at the group's choice; the arrows go round the group.
	group := map[cdp.BackendNodeID]bool{}
	for _, other := range v.controls() {
		if other.role == "radio" {
			group[other.node] = true
		}
	}
	for range 200 {
		switch at := v.active(); {
		case at == c.node:
			v.keys(" ") // the first of a group of which none is chosen has the keyboard without being it
			v.focusShows()
			return
		case group[at] && v.sameGroup(at, c.node):
			v.keys(kb.ArrowDown)
		default:
			v.keys(kb.Tab)
		}
	}
	v.t.Fatalf("the keyboard does not reach the choice %q\n%s", name, v.where())
}

// sameGroup tells whether two radio buttons exclude each other.
func (v *visitor) sameGroup(a, b cdp.BackendNodeID) bool {
	name := func(n cdp.BackendNodeID) string {
		node := call(v, dom.DescribeNode, dom.DescribeNodeParams{BackendNodeID: n}).Node
		for i := 0; i+1 < len(node.Attributes); i += 2 {
			if node.Attributes[i] == "name" {
				return node.Attributes[i+1]
			}
		}
		return ""
	}
	return name(a) == name(b)
}

// tick turns a check box over.
func (v *visitor) tick(name string) {
	v.t.Helper()
	v.clickOn(v.find(name, "checkbox"))
}

// pick takes an entry of a list by typing the beginning of its words, as keyboards and mice alike allow.
func (v *visitor) pick(label, option string) {
	v.t.Helper()
	c := v.find(label, "combobox")
	if v.scene.keyboard {
		v.tabOnto(c)
	} else {
		call(v, dom.Focus, dom.FocusParams{BackendNodeID: c.node}) // a click opens a list outside the page
	}
	v.keys(option)
}
