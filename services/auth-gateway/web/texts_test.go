package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// templatesByName are the sources of the templates.
func templatesByName(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("templates/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	all := map[string]string{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(body)
	}
	return all
}

// keysInGo are the keys this package's code names: every constant of type Text, and every literal handed to must.
func keysInGo(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		literal := func(e ast.Expr) {
			if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if key, err := strconv.Unquote(l.Value); err == nil {
					used[key] = file
				}
			}
		}
		ast.Inspect(source, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "Text" {
					for _, v := range n.Values {
						literal(v)
					}
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "must" && len(n.Args) > 0 {
					literal(n.Args[0])
				}
			case *ast.IndexExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "c" {
					literal(n.Index)
				}
			}
			return true
		})
	}
	return used
}

func TestB38EveryTextIsInTheCatalogue(t *testing.T) {
	used := keysInGo(t)
	call := regexp.MustCompile(`\b(t|rich) "([^"]+)"`)
	rich := map[string]bool{}
	for file, source := range templatesByName(t) {
		for _, m := range call.FindAllStringSubmatch(source, -1) {
			used[m[2]] = file
			rich[m[2]] = rich[m[2]] || m[1] == "rich"
		}
	}
	catalogue := site.texts["en"]
	for key, file := range used {
		if _, ok := catalogue[key]; !ok {
			t.Errorf("%s says %q, which the catalogue does not know", file, key)
		}
	}
	for key, words := range catalogue {
		if used[key] == "" {
			t.Errorf("nobody says %q", key)
		}
		if strings.ContainsAny(words.Other, "*`<>&") && !rich[key] {
			t.Errorf("%q has marks, and is said as plain text", key)
		}
		if strings.TrimSpace(words.Other) == "" || words.Other != strings.TrimSpace(words.Other) {
			t.Errorf("%q is %q", key, words.Other)
		}
	}
}

// A template holds no words of its own: nothing between tags, and nothing in an attribute that is shown or read out.
func TestB38TemplatesHoldNoWords(t *testing.T) {
	action := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	tag := regexp.MustCompile(`(?s)<[a-zA-Z/!][^>]*>`)
	attribute := regexp.MustCompile(`(?s)\b(alt|title|placeholder|aria-label|value|data-[a-z]+|download)="([^"]*)"`)
	hasLetter := func(s string) bool { return strings.ContainsFunc(s, unicode.IsLetter) }
	// What stands in attributes for the script or for the server, not for people.
	names := map[string]bool{"password": true, "recovery-codes": true, "ol.codes": true, "/sign-in/status": true, "/sign-in/code": true, "#link": true, "sample": true, "light": true, "dark": true, "limited": true}
	for file, source := range templatesByName(t) {
		source = action.ReplaceAllString(source, "")
		for _, m := range attribute.FindAllStringSubmatch(source, -1) {
			if hasLetter(m[2]) && !names[m[2]] {
				t.Errorf("%s: %s", file, m[0])
			}
		}
		for _, text := range strings.Split(tag.ReplaceAllString(source, "\x00"), "\x00") {
			if hasLetter(text) {
				t.Errorf("%s: %q", file, strings.TrimSpace(text))
			}
		}
	}
	script, err := os.ReadFile("static/app.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"[A-Z][a-z]+ [a-z ]+"`).FindAllString(string(script), -1) {
		t.Errorf("the script says %s", m)
	}
}

func TestSay(t *testing.T) {
	for _, c := range []struct {
		text Text
		args []any
		want string
	}{
		{CodeWrong, nil, "That code is not right."},
		{"code.tries", []any{1}, "1 try left."},
		{"code.tries", []any{3}, "3 tries left."},
		{"steps", []any{"{1}", 2}, "Step {1} of 2"}, // an argument is not looked into
		{"Carrier: unknown handset (21).", nil, "Carrier: unknown handset (21)."},
		{"", nil, ""},
	} {
		if got := Say("en", c.text, c.args...); got != c.want {
			t.Errorf("Say(%q, %v) = %q, want %q", c.text, c.args, got, c.want)
		}
	}
}

func TestLoadTexts(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	all, err := loadTexts(fstest.MapFS{"texts/en.json": file(`{"a":"A","b":{"one":"{0} b","other":"{0} bs"}}`), "texts/de.json": file(`{"a":"Ä"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if all["de"]["a"].Other != "Ä" || all["de"]["b"].One != "{0} b" {
		t.Errorf("German says %+v", all["de"])
	}
	for _, bad := range []string{`{`, `{"a":{"one":"x"}}`, `{"a":1}`} {
		if _, err := loadTexts(fstest.MapFS{"texts/en.json": file(bad)}); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestRich(t *testing.T) {
	c := catalogue{"k": {Other: "to **{0}** & `x`"}}
	got, err := c.rich("k", `<i>"`)
	if want := `to <b>&lt;i&gt;&#34;</b> &amp; <code>x</code>`; err != nil || string(got) != want {
		t.Errorf("%v: %s, want %s", err, got, want)
	}
	if _, err := c.rich("missing"); err == nil {
		t.Error("a missing text is said")
	}
	if _, err := c.must("missing"); err == nil {
		t.Error("a missing text is said")
	}
}

// TestKeysOnce checks that no key of a catalogue stands there twice: the second would silently take the first's place.
func TestKeysOnce(t *testing.T) {
	files, err := filepath.Glob("texts/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no catalogues: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\s*"([^"]+)":`).FindAllStringSubmatch(string(body), -1) {
			if seen[m[1]] {
				t.Errorf("%s says %q twice", file, m[1])
			}
			seen[m[1]] = true
		}
	}
}
