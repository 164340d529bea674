package arch

import (
	"fmt"
	"iter"
	"path"
	"strings"
)

// files walks through all files of the tree.
func (t Tree) files() iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, p := range t {
			for _, f := range p.Files {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// imports asks judge about every import of every file; what it returns, unless empty, breaks the rule.
func imports(tree Tree, judge func(f File, imported string) string) []Violation {
	var found []Violation
	for f := range tree.files() {
		for _, i := range f.Imports {
			if what := judge(f, i.Path); what != "" {
				found = append(found, Violation{at(f, i.Line), what})
			}
		}
	}
	return found
}

func at(f File, line int) string { return fmt.Sprintf("%s:%d", f.Path, line) }

// within says whether a path is the other one or below it: import paths, directories, files.
func within(p, parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") }

// isStandard says whether an import path is one of the standard library's.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return first != module && !strings.Contains(first, ".")
}

// isTestSupport says whether a package exists for tests: bustest, storetest.
func isTestSupport(pkg string) bool { return strings.HasSuffix(path.Base(pkg), "test") }

// serviceOf returns the service's directory in which a path lies, or nothing: services/totp-svc.
func serviceOf(p string) string {
	if rest, ok := strings.CutPrefix(p, servicesDir+"/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return servicesDir + "/" + name
	}
	return ""
}
