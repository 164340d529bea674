package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/runtime"
)

// axeSource is axe-core, which finds what hinders people with disabilities. It is evaluated by the test through the
// browser's debugger; the page's own policy allows no such script.
var axeSource = sync.OnceValues(func() (string, error) {
	raw, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		return "", fmt.Errorf("axe-core is missing, run scripts/setup: %w", err)
	}
	return string(raw), nil
})

// The rules of axe-core that are asked: all of WCAG 2.2 AA and good practice, and of these the one that another scheme
// can break.
const (
	wcag     = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	contrast = `{type: "rule", values: ["color-contrast"]}`
)

// axed are the pages that axe has judged in this run: each page needs that once, whoever comes by.
var axed sync.Map

// axe runs axe-core on the page as it is, in light, and where it is wide in dark too: colours are the same on a phone.
func (v *visitor) axe(page string) {
	v.t.Helper()
	source, err := axeSource()
	if err != nil {
		v.t.Fatal(err)
	}
	judge := func(scheme, rules string) {
		v.t.Helper()
		v.media("", scheme)
		for _, hindrance := range v.hindrances(source, rules) {
			v.t.Errorf("page %s, %s, %d px wide: %s", page, scheme, v.size.width, hindrance)
		}
	}
	if judge("light", wcag); v.size == desktop {
		judge("dark", contrast)
	}
	v.media("", "")
}

// hindrances are what axe complains of by these rules, a sentence each.
func (v *visitor) hindrances(source, rules string) []string {
	v.t.Helper()
	if !ask[bool](v, `typeof axe === "object"`) {
		ask[bool](v, source+`; typeof axe === "object"`)
	}
	run := `axe.run(document, {resultTypes: ["violations"], runOnly: ` + rules + `}).then((r) => JSON.stringify(
		r.violations.flatMap((rule) => rule.nodes.map((n) => rule.id + ": " + rule.help + " | " + n.html.slice(0, 160) + " | " + (n.any[0] ?? n.all[0] ?? n.none[0])?.message))))`
	yes := true
	r, err := try(v, runtime.Evaluate, runtime.EvaluateParams{Expression: run, AwaitPromise: &yes, ReturnByValue: &yes})
	if err != nil {
		v.t.Fatalf("axe: %v", err)
	}
	if r.ExceptionDetails != nil {
		v.t.Fatalf("axe: %s", r.ExceptionDetails.Text)
	}
	var raw string
	var out []string
	if err := json.Unmarshal(r.Result.Value, &raw); err != nil {
		v.t.Fatalf("axe answers %s: %v", r.Result.Value, err)
	}
	if err := json.NewDecoder(strings.NewReader(raw)).Decode(&out); err != nil {
		v.t.Fatalf("axe answers %s: %v", raw, err)
	}
	return out
}
