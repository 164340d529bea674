package federated

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport/pkg/secret"
	"sallyport/services/auth-gateway/gateway"
)

const providerPatience = 10 * time.Second

// hostile is a provider that keeps to the protocol until a test bends it. Nobody signs in at it: the test asks it for
// a code in the name of whomever it likes.
type hostile struct {
	*httptest.Server
	t   *testing.T
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	grants map[string]grant // by code
	tokens []string         // all it ever gave, for a look into the logs

	// bend changes the claims of every token; sign replaces the signature; answer and describe replace whole answers.
	bend     func(map[string]any)
	sign     func(map[string]any) string
	answer   http.HandlerFunc // of the token endpoint
	describe http.HandlerFunc // of discovery
}

type grant struct{ nonce, challenge, subject, email string }

func newHostile(t *testing.T) *hostile {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{t: t, key: key, grants: make(map[string]grant)}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		if h.describe != nil {
			h.describe(w, r)
			return
		}
		h.say(w, h.description())
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		h.say(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("/token", h.redeem)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *hostile) description() map[string]any {
	return map[string]any{
		"issuer": h.URL, "authorization_endpoint": h.URL + "/authorize", "token_endpoint": h.URL + "/token", "jwks_uri": h.URL + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
	}
}

func (h *hostile) say(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		h.t.Error(err)
	}
}

func (h *hostile) provider() gateway.Provider {
	return gateway.Provider{ID: "hostile", Name: "Elsewhere", Issuer: h.URL, ClientID: "portal", ClientSecret: secret.New("hostile-secret"), Domains: []string{"demo.test"}}
}

// grant gives a code for what the browser was sent here with, in somebody's name.
func (h *hostile) grant(to *url.URL, subject, email string) string {
	h.t.Helper()
	q := to.Query()
	if to.Path != "/authorize" || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 {
		h.t.Fatalf("the browser was sent to %s", to)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	code := rand.Text()
	h.grants[code] = grant{q.Get("nonce"), q.Get("code_challenge"), subject, email}
	h.tokens = append(h.tokens, code)
	return code
}

func (h *hostile) redeem(w http.ResponseWriter, r *http.Request) {
	if h.answer != nil {
		h.answer(w, r)
		return
	}
	h.mu.Lock()
	g, ok := h.grants[r.FormValue("code")]
	delete(h.grants, r.FormValue("code"))
	h.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	id, key, _ := r.BasicAuth()
	if !ok || id != "portal" || key != "hostile-secret" || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		w.WriteHeader(http.StatusBadRequest)
		h.say(w, map[string]string{"error": "invalid_grant"})
		return
	}
	now := time.Now()
	c := map[string]any{
		"iss": h.URL, "aud": "portal", "sub": g.subject, "nonce": g.nonce, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"auth_time": now.Unix(), "email": g.email, "email_verified": true, "name": "Mallory\u202e Somebody\n",
	}
	if h.bend != nil {
		h.bend(c)
	}
	sign := h.sign
	if sign == nil {
		sign = func(c map[string]any) string { return h.signed(jose.ES256, h.key, c) }
	}
	token := sign(c)
	h.mu.Lock()
	h.tokens = append(h.tokens, token)
	h.mu.Unlock()
	h.say(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 60, "id_token": token})
}

// signed makes a token as the library does.
func (h *hostile) signed(alg jose.SignatureAlgorithm, key any, c map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1").WithType("JWT"))
	if err != nil {
		h.t.Error(err)
		return ""
	}
	raw, err := json.Marshal(c)
	if err != nil {
		h.t.Error(err)
	}
	jws, err := signer.Sign(raw)
	if err != nil {
		h.t.Error(err)
		return ""
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		h.t.Error(err)
	}
	return out
}

// unsigned makes a token with alg none.
func (h *hostile) unsigned(c map[string]any) string {
	raw, err := json.Marshal(c)
	if err != nil {
		h.t.Error(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return strings.Join([]string{b64([]byte(`{"alg":"none","typ":"JWT"}`)), b64(raw), ""}, ".")
}

// callback is the address that the provider sends the browser back to.
func callback(to *url.URL, code string, more ...string) string {
	q := url.Values{"state": {to.Query().Get("state")}, "code": {code}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "/sign-in/callback?" + q.Encode()
}
