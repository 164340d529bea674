package docs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// papers are the documents that say which tests keep which promise.
var papers = []string{"docs/security.md", "docs/asvs.md"}

func read(t *testing.T, document string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var (
	quoted    = regexp.MustCompile("`([^`\n]+)`")
	proofName = regexp.MustCompile(`^(?:Test|Fuzz)[A-Z0-9]\w*(/.*)?$`)
	filePath  = regexp.MustCompile(`^(?:pkg|services|test|deploy|docs|scripts|k8s)/[\w./-]*$`)
)

// named are the tests that a text names.
func named(text string) []string {
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		if proofName.MatchString(m[1]) {
			name, _, _ := strings.Cut(m[1], "/")
			out = append(out, name)
		}
	}
	return out
}

// promise is a row of the tables of invariants and rules: number, promise, files, attacks, further tests.
var promise = regexp.MustCompile(`(?m)^\| (I\d|\d\d) \| ([^|\n]+) \| ([^|\n]+) \| ([^|\n]+) \| ([^|\n]*)\|$`)

// Each invariant and each rule has its row, each row says where it is kept, and every test that carries the number of a
// rule stands in the row of it: -update puts it there. A row without any test is a promise that nobody keeps.
func TestEveryPromiseHasItsTests(t *testing.T) {
	known := proofs(t)
	attacks := map[string][]string{}
	for name := range known {
		for _, m := range regexp.MustCompile(`Rule(\d\d)`).FindAllStringSubmatch(name, -1) {
			attacks[m[1]] = append(attacks[m[1]], name)
		}
		if m := regexp.MustCompile(`^Test((?:I\d)+)`).FindStringSubmatch(name); m != nil {
			for _, number := range regexp.MustCompile(`I\d`).FindAllString(m[1], -1) {
				attacks[number] = append(attacks[number], name)
			}
		}
	}
	var want []string
	for i := range 8 {
		want = append(want, fmt.Sprintf("I%d", i+1))
	}
	for i := range 22 {
		want = append(want, fmt.Sprintf("%02d", i+1))
	}
	text := read(t, "docs/security.md")
	var rows []string
	changed := promise.ReplaceAllStringFunc(text, func(line string) string {
		m := promise.FindStringSubmatch(line)
		number := m[1]
		rows = append(rows, number)
		slices.Sort(attacks[number])
		column := "–"
		if len(attacks[number]) > 0 {
			column = "`" + strings.Join(attacks[number], "`, `") + "`"
		}
		if len(quoted.FindAllString(m[3], -1)) == 0 {
			t.Errorf("%s is kept nowhere", number)
		}
		if len(attacks[number])+len(named(m[5])) == 0 {
			t.Errorf("no test keeps %s", number)
		}
		if (number <= "19" || slices.Contains([]string{"I1", "I5", "I6", "I8"}, number)) && len(attacks[number]) == 0 {
			t.Errorf("nobody attacks %s", number)
		}
		if column != m[4] && !*update {
			t.Errorf("the row of %s does not have the tests of its number; go test ./test/docs -update puts them there: %s", number, column)
		}
		return fmt.Sprintf("| %s | %s | %s | %s | %s|", number, m[2], m[3], column, m[5])
	})
	if !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
	if *update && changed != text {
		if err := os.WriteFile(filepath.Join(root, "docs/security.md"), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Every promise of the README has its line, and every number in it is that of a row.
func TestEveryPromiseOfTheReadmeIsKept(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "README.md"), "## What it promises\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, table, ok := strings.Cut(read(t, "docs/security.md"), "| the README promises | kept by |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !ok {
		t.Fatal("docs/security.md has no table of the README's promises")
	}
	rows := map[string]bool{}
	for _, m := range promise.FindAllStringSubmatch(read(t, "docs/security.md"), -1) {
		rows[m[1]] = true
	}
	promises := regexp.MustCompile(`(?m)^- (.*)$`).FindAllStringSubmatch(section, -1)
	lines := strings.Split(table, "\n")
	if len(promises) == 0 || len(promises) != len(lines) {
		t.Fatalf("the README has %d promises, docs/security.md %d lines for them", len(promises), len(lines))
	}
	for i, line := range lines {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(promises[i][1], cells[0]) {
			t.Errorf("line %d is about %q, the README promises %q", i+1, cells[0], promises[i][1])
		}
		numbers := rowNumber.FindAllString(quoted.ReplaceAllString(line[len(cells[0])+2:], ""), -1)
		if len(numbers)+len(named(line)) == 0 {
			t.Errorf("%q is kept by nothing", cells[0])
		}
		for _, number := range numbers {
			if !rows[number] {
				t.Errorf("%q is kept by %s, of which there is no row", cells[0], number)
			}
		}
	}
}

// rowNumber is that of an invariant or a rule.
var rowNumber = regexp.MustCompile(`\b(?:I\d|\d\d)\b`)

// Every test and every file that the papers name is there, and they say in which package each test is.
func TestWhatThePapersNameIsThere(t *testing.T) {
	known := proofs(t)
	byPackage := map[string][]string{}
	for _, paper := range papers {
		text := read(t, paper)
		for _, name := range named(text) {
			if len(known[name]) == 0 {
				t.Errorf("%s names %s, which is not there", paper, name)
			}
			for _, dir := range known[name] {
				if !slices.Contains(byPackage[dir], name) {
					byPackage[dir] = append(byPackage[dir], name)
				}
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			if filePath.MatchString(m[1]) {
				if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
					t.Errorf("%s names %s, which is not there", paper, m[1])
				}
			}
		}
	}
	var b strings.Builder
	b.WriteString("| package | tests |\n|---|---|\n")
	for _, dir := range slices.Sorted(maps.Keys(byPackage)) {
		slices.Sort(byPackage[dir])
		fmt.Fprintf(&b, "| %s | %s |\n", dir, strings.Join(byPackage[dir], ", "))
	}
	between(t, "docs/security.md", "where", b.String())
}

// asvsLast is the number of the last requirement of each section of the five chapters of ASVS 5.0.0, and which of them
// are of level 3 and not ours.
var asvsLast = []struct {
	section string
	last    int
	level3  []int
}{
	{"6.1", 3, nil},
	{"6.2", 12, nil},
	{"6.3", 8, []int{5, 6, 7, 8}},
	{"6.4", 6, []int{5, 6}},
	{"6.5", 8, []int{6, 7, 8}},
	{"6.6", 4, []int{4}},
	{"6.7", 2, []int{1, 2}},
	{"6.8", 4, nil},
	{"7.1", 3, nil},
	{"7.2", 4, nil},
	{"7.3", 2, nil},
	{"7.4", 5, nil},
	{"7.5", 3, []int{3}},
	{"7.6", 2, nil},
	{"11.1", 4, []int{3, 4}},
	{"11.2", 5, []int{4, 5}},
	{"11.3", 5, []int{4, 5}},
	{"11.4", 4, nil},
	{"11.5", 2, []int{2}},
	{"11.6", 2, []int{2}},
	{"11.7", 2, []int{1, 2}},
	{"13.1", 4, []int{2, 3, 4}},
	{"13.2", 6, []int{6}},
	{"13.3", 4, []int{3, 4}},
	{"13.4", 7, []int{6, 7}},
	{"16.1", 1, nil},
	{"16.2", 5, nil},
	{"16.3", 4, nil},
	{"16.4", 3, nil},
	{"16.5", 4, []int{4}},
}

// docs/asvs.md answers each requirement of level 1 and 2 of its chapters, in order: with a test, or with a reason.
func TestEveryRequirementIsAnswered(t *testing.T) {
	var want []string
	for _, s := range asvsLast {
		for i := range s.last {
			if !slices.Contains(s.level3, i+1) {
				want = append(want, fmt.Sprintf("%s.%d", s.section, i+1))
			}
		}
	}
	row := regexp.MustCompile(`(?m)^\| (\d+\.\d+\.\d+) \| ([^|\n]+) \| \*\*(met|in part|not met|not here)\.\*\* ([^|\n]*)\| ([^|\n]+) \|$`)
	var got []string
	count := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/asvs.md"), -1) {
		got = append(got, m[1])
		count[m[3]]++
		const aReason = 20 // characters: too short to be one
		if m[3] == "met" && len(named(m[5])) == 0 && len(m[4]) < aReason {
			t.Errorf("%s is met, without a test and without a reason", m[1])
		}
		if m[3] != "met" && len(m[4]) < aReason {
			t.Errorf("%s is %s, without a reason", m[1], m[3])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("requirements %v,\nwant %v", got, want)
	}
	between(t, "docs/asvs.md", "count", fmt.Sprintf("Of %d requirements of level 1 and 2: %d met, %d in part, %d not met, %d about something that is not here.\n",
		len(got), count["met"], count["in part"], count["not met"], count["not here"]))
}

// Whatever of the product uses cryptography stands in the inventory.
func TestTheInventoryOfCryptographyIsWhole(t *testing.T) {
	used := map[string][]string{}
	imported := regexp.MustCompile(`(?m)^\s*(?:\w+ )?"((?:crypto|golang\.org/x/crypto|filippo\.io/age|github\.com/(?:tink-crypto|alexedwards/argon2id|coreos/go-oidc|pquerna/otp|go-jose|aws/aws-sdk-go-v2/service/kms))[^"]*)"`)
	eachFile(t, func(path string) bool {
		return strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !strings.Contains(filepath.ToSlash(path), "/test/")
	}, func(path, source string) {
		for _, m := range imported.FindAllStringSubmatch(source, -1) {
			if !slices.Contains(used[m[1]], path) {
				used[m[1]] = append(used[m[1]], path)
			}
		}
	})
	var b strings.Builder
	b.WriteString("| package | used in |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&b, "| %s | `%s` |\n", name, strings.Join(used[name], "`, `"))
	}
	between(t, "docs/asvs.md", "cryptography", b.String())
}
