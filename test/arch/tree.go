// Package arch answers: are the rules of the house kept?
//
// [Load] reads the workspace into a [Tree] of plain values, and each rule in [Rules] is a function of such a tree, so
// that a test can show that the rule bites. A new rule is one more entry there, with the reason for it.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Tree is all Go packages of the workspace.
type Tree []Package

// Package is one package together with its tests, external ones included.
type Package struct {
	Path  string // import path: sallyport/pkg/clock
	Name  string // as its package clause says; without _test
	Dir   string // from the root of the repository, with slashes: pkg/clock
	Doc   string // first sentence of its doc comment
	Files []File
}

// File is one Go file, whatever its build constraints are.
type File struct {
	Path    string // from the root of the repository, with slashes
	Imports []Import
	Clock   []ClockUse
}

// Import is one import declaration.
type Import struct {
	Path string
	Line int
}

// ClockUse is a place where a file reads the host's clock or waits on it.
type ClockUse struct {
	Name    string // time.Now, time.Since, time.Until or time.Sleep
	Line    int
	Comment string // on the same line or on the one above
}

// IsTest says whether the file is compiled into tests only.
func (f File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Load reads every package of the workspace at root. It asks the go command once (about 0.1 s) and parses each file.
func Load(root string) (Tree, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// -find: imports are read from the files below, so nothing has to be resolved or compiled.
	// -e: a package that is nothing but ignored files is still a package.
	cmd := exec.Command("go", "list", "-e", "-find", "-json=ImportPath,Name,Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "work")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	var tree Tree
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			ImportPath, Name, Dir                                        string
			GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&listed); errors.Is(err, io.EOF) {
			return tree, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		dir, err := filepath.Rel(root, listed.Dir)
		if err != nil {
			return nil, err
		}
		pkg := Package{Path: listed.ImportPath, Name: listed.Name, Dir: filepath.ToSlash(dir)}
		for _, name := range slices.Concat(listed.GoFiles, listed.CgoFiles, listed.IgnoredGoFiles, listed.TestGoFiles, listed.XTestGoFiles) {
			if err := pkg.add(root, name); err != nil {
				return nil, err
			}
		}
		tree = append(tree, pkg)
	}
}

// add parses one file of the package.
func (p *Package) add(root, name string) error {
	file := path.Join(p.Dir, name)
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(file)), nil, parser.ParseComments)
	if err != nil {
		return err
	}
	if p.Name == "" {
		p.Name = strings.TrimSuffix(parsed.Name.Name, "_test")
	}
	if p.Doc == "" && parsed.Doc != nil && !strings.HasSuffix(parsed.Name.Name, "_test") {
		p.Doc = new(doc.Package).Synopsis(parsed.Doc.Text())
	}
	p.Files = append(p.Files, describe(file, fset, parsed))
	return nil
}

// describe reduces a parsed file to what the rules look at.
func describe(file string, fset *token.FileSet, parsed *ast.File) File {
	line := func(n ast.Node) int { return fset.Position(n.Pos()).Line }
	f := File{Path: file}
	clock := "" // the name under which the file imports package time
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // The parser has refused it.
		}
		f.Imports = append(f.Imports, Import{Path: imported, Line: line(spec)})
		if imported == "time" {
			clock = "time"
			if spec.Name != nil {
				clock = spec.Name.Name
			}
		}
	}
	if clock == "" {
		return f
	}
	comments := map[int]string{} // by the line on which each comment ends
	for _, group := range parsed.Comments {
		comments[fset.Position(group.End()).Line] = group.Text()
	}
	use := func(name string, at ast.Node) {
		n := line(at)
		f.Clock = append(f.Clock, ClockUse{Name: name, Line: n, Comment: comments[n-1] + comments[n]})
	}
	member := func(n ast.Node) string {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == clock {
				return sel.Sel.Name
			}
		}
		return ""
	}
	chosen := map[ast.Stmt]bool{} // receives that are a case of a select
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CommClause:
			chosen[n.Comm] = true
		case *ast.ExprStmt:
			// `<-time.After(d)` alone is a sleep by another name.
			receive, ok := n.X.(*ast.UnaryExpr)
			if !ok || receive.Op != token.ARROW || chosen[n] {
				break
			}
			if call, ok := receive.X.(*ast.CallExpr); ok && member(call.Fun) == "After" {
				use("time.Sleep", n)
			}
		case *ast.SelectorExpr:
			switch name := member(n); name {
			case "Now", "Since", "Until", "Sleep":
				use("time."+name, n)
			}
		}
		return true
	})
	return f
}
