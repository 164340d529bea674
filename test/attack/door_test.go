package attack

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// TestI1DoorOnTwoGateways brings one ticket to two gateways fifty times at once, and then redeems the sign-in as often: one
// browser is let in, and one proof is given.
func TestI1DoorOnTwoGateways(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	const home = "https://portal.example.com/after"
	office, err := gateway.OpenOffice(t.Context(), h.store(contract.AuthGateway), h.Clock, h.bases[0])
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := office.CreateAPIKey(t.Context(), gateway.DemoPortal, "portal", "portal", "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := office.AddReturnURL(t.Context(), gateway.DemoPortal, home, "test"); err != nil {
		t.Fatal(err)
	}
	type begun struct{ ID, Status, Token, URL string }
	begin := func(returnURL string) begun {
		return sut.Want[begun](t, http.StatusCreated, h.post(t, "/v1/sign-ins", key.Reveal(), map[string]any{
			"user": map[string]string{"id": "1", "email": "rosa@initech.test", "audience": "organization", "organization": "Initech"}, "return_url": returnURL,
		}))
	}
	s := begin("") // they decline, so that the next one asks for nothing
	sut.Want[sut.SignIn](t, http.StatusOK, h.post(t, "/v1/sign-ins/"+s.ID+"/enrollment/skip", s.Token, nil))
	s = begin(home)
	answers := make([]sut.Answer, 50)
	ticket := s.URL[len(h.bases[0]+"/sign-in/door/"):]
	atOnce(len(answers), func(i int) {
		answers[i] = h.submit(t, pages{path: "/sign-in/door", form: url.Values{"ticket": {ticket}}})
	})
	var tokens []string
	for _, a := range answers {
		for _, c := range (&http.Response{Header: a.Header}).Cookies() {
			if c.Name == "sallyport_sign_in" && c.Value != "" {
				tokens = append(tokens, c.Value)
			}
		}
	}
	if len(tokens) != 1 {
		t.Fatalf("one ticket let %d browsers in: %v", len(tokens), tally(answers))
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, h.bases[1]+"/sign-in/back", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "sallyport_sign_in="+tokens[0])
	back, err := h.doors[1].Send(req)
	word := regexp.MustCompile(`code=(\w+)`).FindStringSubmatch(back.Header.Get("Refresh"))
	if err != nil || word == nil {
		t.Fatalf("%v: nothing is brought home: %s", err, back)
	}
	atOnce(len(answers), func(i int) {
		answers[i] = h.post(t, "/v1/sign-ins/"+s.ID+"/redeem", key.Reveal(), codeIs(word[1]))
	})
	got := tally(answers)
	once(t, "redeeming a sign-in", got)
	only(t, "redeeming a sign-in", got, in, "conflict")
}
