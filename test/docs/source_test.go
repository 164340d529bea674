package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// proofs are the names of all tests and fuzz targets, each with the directories that have one of that name.
func proofs(t *testing.T) map[string][]string {
	t.Helper()
	head := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	out := map[string][]string{}
	eachFile(t, func(path string) bool { return strings.HasSuffix(path, "_test.go") }, func(path, source string) {
		for _, m := range head.FindAllStringSubmatch(source, -1) {
			if dir := filepath.ToSlash(filepath.Dir(path)); !slices.Contains(out[m[1]], dir) {
				out[m[1]] = append(out[m[1]], dir)
			}
		}
	})
	return out
}

// eachFile reads the files of the workspace that are wanted, by their path from the top.
func eachFile(t *testing.T, wanted func(path string) bool, read func(path, source string)) {
	t.Helper()
	for _, top := range []string{"pkg", "services", "test"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "node_modules":
				return fs.SkipDir
			case d.IsDir() || !wanted(path):
				return nil
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			short, err := filepath.Rel(root, path)
			read(filepath.ToSlash(short), string(raw))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// constants are the numbers that the constants of a package stand for, durations in nanoseconds. A figure in a document
// that is worked out from these is the code's.
func constants(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]ast.Expr{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
				for i, name := range spec.Names {
					values[name.Name] = spec.Values[i]
				}
			}
			return true
		})
	}
	out := map[string]int64{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if n, ok := value(values, values[name]); ok {
			out[name] = n
		}
	}
	return out
}

// value is what an expression of whole numbers and times comes to.
func value(known map[string]ast.Expr, e ast.Expr) (int64, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		n, err := strconv.ParseInt(e.Value, 0, 64)
		return n, err == nil && e.Kind == token.INT
	case *ast.Ident:
		of, ok := known[e.Name]
		if !ok {
			return 0, false
		}
		return value(known, of)
	case *ast.SelectorExpr:
		n, ok := map[string]int64{"Second": 1e9, "Minute": 60e9, "Hour": 3600e9}[e.Sel.Name]
		return n, ok
	case *ast.BinaryExpr:
		a, okA := value(known, e.X)
		b, okB := value(known, e.Y)
		switch {
		case !okA || !okB:
			return 0, false
		case e.Op == token.MUL:
			return a * b, true
		case e.Op == token.ADD:
			return a + b, true
		case e.Op == token.SHL:
			return a << b, true
		}
	}
	return 0, false
}

// setting is the default of a service's setting.
func setting(t *testing.T, file, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`env:"` + name + `" envDefault:"([^"]*)"`).FindSubmatch(raw)
	if m == nil {
		t.Fatalf("%s has no setting %s with a default", file, name)
	}
	return string(m[1])
}

// between holds what stands between two marks of a document to what should; -update writes it.
func between(t *testing.T, document, mark, want string) {
	t.Helper()
	begin, end := "<!-- "+mark+": begin -->\n", "<!-- "+mark+": end -->"
	path := filepath.Join(root, document)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	held, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks of %s", document, mark)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if held != want {
		t.Errorf("%s: %s is not that of the code; go test ./test/docs -update writes it:\n%s", document, mark, want)
	}
}
