package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Rule is one sentence that the code keeps.
type Rule struct {
	Name  string
	Says  string                 // what holds, and why
	Fix   string                 // what to do where it does not
	Check func(Tree) []Violation // every place that breaks it
}

// Violation is a place that breaks a rule.
type Violation struct {
	At   string // file:line, file or package
	What string
}

// Where things live. A rule that names a place which is gone would hold for nothing; the rule "places" sees to that.
const (
	contractDir = "pkg/contract"
	busDir      = "pkg/bus"
	storeDir    = "pkg/store"
	embeddedDir = "pkg/embedded"
	traceDir    = "pkg/trace"
	gatewayDir  = "services/auth-gateway"
	allInOneDir = "services/sallyport"
	servicesDir = "services"
	testDir     = "test"
	module      = "sallyport" // every import path of the workspace is this and the directory
)

// pureFiles hold the rules of the product as functions of values and the time.
var pureFiles = []string{
	"pkg/meter/meter.go",
	"services/auth-gateway/gateway/imported_hash.go",
	"services/auth-gateway/gateway/transitions.go",
	"services/policy-svc/policy/chain.go",
	"services/policy-svc/policy/decide.go",
	"services/sms-dispatcher/sms/classify.go",
	"services/sms-dispatcher/sms/guard.go",
	"services/sms-dispatcher/sms/guard_country.go",
	"services/sms-dispatcher/sms/limits.go",
	"services/sms-dispatcher/sms/mask.go",
	"services/sms-dispatcher/sms/step.go",
	"services/totp-svc/totp/guard.go",
	"services/totp-svc/totp/rfc6238.go",
}

// Rules are all of them.
var Rules = []Rule{
	{
		Name:  "contract",
		Says:  "pkg/contract imports the standard library only: whoever reads it reads what the services say, and nothing else",
		Fix:   "move what needs the import out of pkg/contract, to the service or package that uses it",
		Check: contractIsALeaf,
	},
	{
		Name: "web",
		Says: "Fiber and huma are imported in services/auth-gateway only: no other service speaks HTTP to people",
		Fix:  "answer a request of pkg/contract instead, and let the gateway put it on the web",
		Check: importedOnlyIn(
			[]string{"github.com/gofiber", "github.com/danielgtaylor/huma"},
			func(file string) bool { return within(file, gatewayDir) },
		),
	},
	{
		Name: "store",
		Says: "the MongoDB driver is imported in pkg/store, pkg/embedded and a service's files named …store.go (and their tests) only: how state is kept is decided there and nowhere else",
		Fix:  "move the query into a file of the service named …store.go, behind a method that takes and returns the service's own types",
		Check: importedOnlyIn(
			[]string{"go.mongodb.org/mongo-driver"},
			func(file string) bool {
				return within(file, storeDir) || within(file, embeddedDir) ||
					within(file, servicesDir) && (strings.HasSuffix(file, "store.go") || strings.HasSuffix(file, "store_test.go"))
			},
		),
	},
	{
		Name: "bus",
		Says: "NATS is imported in pkg/bus and pkg/embedded only: draining, retries, headers and limits are written once",
		Fix:  "use pkg/bus, or bustest in a test; where it cannot do what is needed, add that there",
		Check: importedOnlyIn(
			[]string{"github.com/nats-io"},
			func(file string) bool { return within(file, busDir) || within(file, embeddedDir) },
		),
	},
	{
		Name: "traces",
		Says: "OpenTelemetry is imported in pkg/trace only: what a span may hold is decided there, and no name, number or text can get into one elsewhere",
		Fix:  "use pkg/trace, or pkg/trace/tracetest in a test; an attribute that is missing is added there, with its closed set",
		Check: importedOnlyIn(
			[]string{"go.opentelemetry.io"},
			func(file string) bool { return within(file, traceDir) },
		),
	},
	{
		Name:  "services",
		Says:  "services never import each other, and pkg imports none of them; services/sallyport alone starts all four: a service can be replaced, and deployed by itself",
		Fix:   "say it in a message of pkg/contract; code that two services share belongs into pkg",
		Check: servicesAreApart,
	},
	{
		Name:  "tests",
		Says:  "nothing imports sallyport/test: the tests depend on the product, never the other way round",
		Fix:   "move what is needed into pkg; a helper for tests goes into a package named *test beside what it helps with",
		Check: nothingImportsTests,
	},
	{
		Name:  "binaries",
		Says:  "what is shipped reaches no test code: neither the testing packages nor a package named *test",
		Fix:   "move the code into a _test.go file or into a package named *test that only tests import",
		Check: binariesCarryNoTests,
	},
	{
		Name:  "pure",
		Says:  "the files with the rules of the product import no bus, store, net or os: they are tested with tables, without a server",
		Fix:   "take the value as a parameter and do the I/O in the caller; a file that was moved changes its name in pureFiles",
		Check: pureFilesDoNoIO,
	},
	{
		Name:  "names",
		Says:  "no package is named util, utils, common, helpers or models: such a name does not say what belongs there",
		Fix:   "name the package after the question that it answers",
		Check: namesSaySomething,
	},
	{
		Name:  "sleep",
		Says:  "tests do not sleep: what is too short fails on a slow machine, what is long enough wastes everybody's time",
		Fix:   "wait on a signal, or poll with a deadline; for a rule with a deadline, advance a clock.Clock",
		Check: testsDoNotSleep,
	},
	{
		Name:  "clock",
		Says:  "services take the time from a clock.Clock: a rule with a deadline can be tested, and the demo's clock reaches it",
		Fix:   "call Now of the clock that was handed in; a measurement of real time (a latency, a timeout of a connection) says so in a comment on that line or above it: // real time: why",
		Check: servicesTakeAClock,
	},
	{
		Name:  "questions",
		Says:  "the first sentence of every package says which question it answers: one package, one question",
		Fix:   "begin the doc comment with: Package x answers: …? (Command x answers: …? for a main package)",
		Check: packagesAnswer,
	},
	{
		Name:  "places",
		Says:  "the places which these rules name exist: a rule about a place that was moved would hold for nothing",
		Fix:   "give the place its new name in test/arch/rules.go",
		Check: placesExist,
	},
}

func contractIsALeaf(tree Tree) []Violation {
	return imports(tree, func(f File, imported string) string {
		if !within(f.Path, contractDir) || f.IsTest() || isStandard(imported) || within(imported, module+"/"+contractDir) {
			return ""
		}
		return "imports " + imported
	})
}

// importedOnlyIn forbids a family of imports to every file, tests included, that is not allowed to have it.
func importedOnlyIn(prefixes []string, allowed func(file string) bool) func(Tree) []Violation {
	return func(tree Tree) []Violation {
		return imports(tree, func(f File, imported string) string {
			if allowed(f.Path) || !slices.ContainsFunc(prefixes, func(p string) bool { return within(imported, p) }) {
				return ""
			}
			return "imports " + imported
		})
	}
}

func servicesAreApart(tree Tree) []Violation {
	return imports(tree, func(f File, imported string) string {
		service := serviceOf(strings.TrimPrefix(imported, module+"/"))
		from := serviceOf(f.Path)
		switch {
		case service == "" || service == from || from == allInOneDir || within(f.Path, testDir):
			return ""
		case from == "":
			return "imports the service " + imported
		default:
			return "imports another service, " + imported
		}
	})
}

func nothingImportsTests(tree Tree) []Violation {
	return imports(tree, func(f File, imported string) string {
		if within(f.Path, testDir) || !within(imported, module+"/"+testDir) {
			return ""
		}
		return "imports " + imported
	})
}

func binariesCarryNoTests(tree Tree) []Violation {
	byPath := map[string]Package{}
	for _, p := range tree {
		byPath[p.Path] = p
	}
	reachedBy := map[string]string{} // package → the first binary that reaches it
	var found []Violation
	var visit func(p Package, binary string)
	visit = func(p Package, binary string) {
		if reachedBy[p.Path] != "" {
			return
		}
		reachedBy[p.Path] = binary
		for _, f := range p.Files {
			if f.IsTest() {
				continue
			}
			for _, i := range f.Imports {
				next, ours := byPath[i.Path]
				switch {
				case within(i.Path, "testing"), i.Path == "net/http/httptest", ours && isTestSupport(i.Path):
					found = append(found, Violation{at(f, i.Line), "imports " + i.Path + " and is part of " + binary})
				case ours:
					visit(next, binary)
				}
			}
		}
	}
	for _, p := range tree {
		if p.Name == "main" && !within(p.Dir, testDir) {
			visit(p, p.Dir)
		}
	}
	return found
}

func pureFilesDoNoIO(tree Tree) []Violation {
	found := imports(tree, func(f File, imported string) string {
		if !slices.Contains(pureFiles, f.Path) {
			return ""
		}
		for _, impure := range []string{
			"net", "os", "syscall", "database/sql", "io/ioutil", "go.mongodb.org", "github.com/nats-io",
			module + "/" + busDir, module + "/" + storeDir, module + "/" + embeddedDir,
		} {
			// Values of net/url and net/netip are as pure as strings.
			if within(imported, impure) && imported != "net/url" && imported != "net/netip" {
				return "imports " + imported
			}
		}
		return ""
	})
	// A service without any code yet is not asked for its rules.
	files := map[string]bool{}
	started := map[string]bool{}
	for f := range tree.files() {
		files[f.Path] = true
		started[serviceOf(f.Path)] = true
	}
	for _, file := range pureFiles {
		if started[serviceOf(file)] && !files[file] {
			found = append(found, Violation{file, "is missing"})
		}
	}
	return found
}

func namesSaySomething(tree Tree) []Violation {
	var found []Violation
	for _, p := range tree {
		for _, empty := range []string{"util", "utils", "common", "helper", "helpers", "model", "models"} {
			if p.Name == empty || path.Base(p.Dir) == empty {
				found = append(found, Violation{p.Dir, "is named " + empty})
			}
		}
	}
	return found
}

func testsDoNotSleep(tree Tree) []Violation {
	var found []Violation
	for f := range tree.files() {
		if !f.IsTest() && !isTestSupport(path.Dir(f.Path)) {
			continue
		}
		for _, use := range f.Clock {
			if use.Name == "time.Sleep" {
				found = append(found, Violation{at(f, use.Line), "sleeps"})
			}
		}
	}
	return found
}

func servicesTakeAClock(tree Tree) []Violation {
	var found []Violation
	for f := range tree.files() {
		if f.IsTest() || serviceOf(f.Path) == "" || path.Base(f.Path) == "main.go" {
			continue
		}
		for _, use := range f.Clock {
			_, reason, excused := strings.Cut(use.Comment, "real time:")
			if use.Name == "time.Sleep" || excused && strings.TrimSpace(reason) != "" {
				continue
			}
			found = append(found, Violation{at(f, use.Line), "calls " + use.Name})
		}
	}
	return found
}

func packagesAnswer(tree Tree) []Violation {
	var found []Violation
	for _, p := range tree {
		switch {
		case p.Doc == "":
			found = append(found, Violation{p.Dir, "has no doc comment"})
		case !strings.Contains(p.Doc, " answers"):
			found = append(found, Violation{p.Dir, fmt.Sprintf("begins its doc comment with %q", p.Doc)})
		}
	}
	return found
}

func placesExist(tree Tree) []Violation {
	var found []Violation
	for _, dir := range []string{contractDir, busDir, storeDir, embeddedDir, traceDir, gatewayDir, allInOneDir, testDir} {
		if !slices.ContainsFunc(tree, func(p Package) bool { return within(p.Dir, dir) }) {
			found = append(found, Violation{dir, "does not exist"})
		}
		if slices.ContainsFunc(tree, func(p Package) bool { return p.Dir == dir && p.Path != module+"/"+dir }) {
			found = append(found, Violation{dir, "is not imported as " + module + "/" + dir})
		}
	}
	return found
}
