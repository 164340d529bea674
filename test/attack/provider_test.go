package attack

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"sallyport/test/sut"
)

// refuser is a provider that says where it is, and answers every code in the same way.
func refuser(t *testing.T, token http.HandlerFunc) (base string) {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{ // the product says if it does not arrive
			"issuer": s.URL, "authorization_endpoint": s.URL + "/auth", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/token", token)
	return s.URL
}

// trusting are the operator's words by which a portal of the demo trusts a provider, as "echo".
func trusting(t *testing.T, base, clientSecret string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "client-secret")
	if err := os.WriteFile(file, []byte(clientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"portal", "provider", "set", "--portal=demo", "--id=echo", "--name=Echo", "--issuer=" + base, "--client-id=gate", "--client-secret-file=" + file, "--domain=demo.test",
	}
}

// toProvider is where the provider's button sends the browser; nil if not to the provider.
func toProvider(base string, a sut.Answer) *url.URL {
	at, err := url.Parse(a.Header.Get("Location"))
	if err != nil || a.Status != http.StatusSeeOther || at.Scheme+"://"+at.Host+at.Path != base+"/auth" {
		return nil
	}
	return at
}
