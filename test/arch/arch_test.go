package arch_test

import (
	"testing"

	"sallyport/test/arch"
)

// TestArchitecture holds every rule against the workspace as it is.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	tree, err := arch.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) == 0 {
		t.Fatal("the workspace has no packages: every rule would hold for nothing")
	}
	for _, rule := range arch.Rules {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			for _, v := range rule.Check(tree) {
				t.Errorf("%s %s\n  the rule: %s\n  to do: %s", v.At, v.What, rule.Says, rule.Fix)
			}
		})
	}
}
