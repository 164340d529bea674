package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// answersAreDescribed holds what the API's description says of answers to every answer that these tests were given: a
// status, and for a refusal its code, that an operation gives and the description does not know is an error.
func answersAreDescribed() error {
	raw, err := gateway.Description()
	if err != nil {
		return err
	}
	var d struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct {
					Examples map[string]json.RawMessage
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	var missing []string
	for _, a := range sut.Given() {
		operations := d.Paths[templateOf(a.Path, d.Paths)]
		op, ok := operations[strings.ToLower(a.Method)]
		if !ok || a.Method == http.MethodHead {
			continue // nothing of ours
		}
		r, ok := op.Responses[strconv.Itoa(a.Status)]
		if _, code := r.Content["application/problem+json"].Examples[a.Code]; !ok || a.Status >= http.StatusBadRequest && !code {
			missing = append(missing, fmt.Sprintf("%s %s answers %d %s", a.Method, a.Path, a.Status, a.Code))
		}
	}
	if missing != nil {
		return fmt.Errorf("the API's description does not know these answers:\n%s", strings.Join(missing, "\n"))
	}
	return nil
}

// templateOf is the path of a description that a path is one of, "" for none. A word that stands there goes before a
// parameter.
func templateOf[T any](path string, paths map[string]T) string {
	best, words := "", -1
	for template := range paths {
		asked, has, n := strings.Split(path, "/"), strings.Split(template, "/"), 0
		fits := len(asked) == len(has)
		for i := 0; fits && i < len(has); i++ {
			if asked[i] == has[i] {
				n++
			} else {
				fits = strings.HasPrefix(has[i], "{") && asked[i] != ""
			}
		}
		if fits && n > words {
			best, words = template, n
		}
	}
	return best
}
