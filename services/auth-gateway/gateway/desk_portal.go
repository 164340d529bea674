package gateway

import (
	"bytes"
	"context"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport/pkg/contract"
)

// logoMost is how large a logo may be: it travels in one form, and is kept in memory.
const logoMost = 12 << 10

// brand is the portal as it is kept.
func (d *desk) brand(ctx context.Context, s session) (portal, error) {
	if err := d.master(ctx, s); err != nil {
		return portal{}, err
	}
	return d.accounts.portals.Get(ctx, s.Portal)
}

// rebrand changes how the portal looks. Every gateway shows it within [portalsEvery], this one at once.
func (d *desk) rebrand(ctx context.Context, s session, b branding) error {
	if err := d.master(ctx, s); err != nil {
		return err
	}
	b, err := b.checked()
	if err != nil {
		return err
	}
	note := d.by(s, contract.AuditPortalChanged, "", "")
	note.Detail = map[string]string{"fields": "branding", "name": b.Name}
	_, ok, err := told(ctx, d, d.accounts.portals, portalsCollection, s.Portal, rebranding(b), note)
	if err == nil && !ok {
		return contract.Refuse(contract.NotFound, "There is no such portal.")
	}
	if err != nil {
		return err
	}
	return d.reload(ctx)
}

var accentColour = regexp.MustCompile(`^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$`)

// checked is a branding put right, or what is wrong with it.
func (b branding) checked() (branding, error) {
	name, err := oneLine("name", b.Name)
	if err != nil {
		return b, err
	}
	if utf8.RuneCountInString(name) > 80 {
		return b, invalid("name", "The name may have 80 characters.")
	}
	if b.Accent != "" && !accentColour.MatchString(b.Accent) {
		return b, invalid("accent", "The colour must be like #1f5fd0.")
	}
	if b.SupportEmail != "" {
		a, err := mail.ParseAddress(b.SupportEmail)
		if err != nil || a.Address != b.SupportEmail || len(b.SupportEmail) > 254 {
			return b, invalid("support_email", "Please enter valid email.")
		}
	}
	for _, l := range []struct{ field, to string }{{"support_url", b.SupportURL}, {"request_account_url", b.RequestAccountURL}, {"reset_login_url", b.ResetLoginURL}} {
		if err := checkLink(l.field, l.to); err != nil {
			return b, err
		}
	}
	if utf8.RuneCountInString(b.HelpText) > 1000 || !utf8.ValidString(b.HelpText) ||
		strings.ContainsFunc(b.HelpText, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }) {
		return b, invalid("help_text", "The help text may have 1000 characters.")
	}
	for field, p := range map[string]*picture{"logo": b.Logo, "logo_dark": b.LogoDark} {
		switch {
		case p == nil || len(p.Data) == 0:
		case len(p.Data) > logoMost:
			return b, invalid(field, "The logo may have 12 KiB.")
		case imageType(p.Data) == "":
			return b, invalid(field, "The logo must be an SVG, PNG, JPEG or WebP picture.")
		}
	}
	b.Name, b.HelpText = name, strings.TrimSpace(b.HelpText)
	for _, p := range []*picture{b.Logo, b.LogoDark} {
		if p != nil {
			p.Type = imageType(p.Data)
		}
	}
	return b, nil
}

// checkLink lets web pages over https and mail addresses through, and nothing that a browser would run.
func checkLink(field, to string) error {
	if to == "" {
		return nil
	}
	u, err := url.Parse(to)
	ok := err == nil && len(to) <= 500 && !strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == 0x7f })
	if ok && u.Scheme == "mailto" {
		a, err := mail.ParseAddress(u.Opaque)
		ok = err == nil && a.Address == u.Opaque
	} else {
		ok = ok && u.Scheme == "https" && u.Host != "" && u.User == nil
	}
	if !ok {
		return invalid(field, "The link must begin with https:// or mailto:.")
	}
	return nil
}

// imageType is the media type of a picture, found from its first bytes; "" for anything else.
func imageType(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "image/webp"
	case isSVG(data):
		return "image/svg+xml"
	}
	return ""
}

// isSVG tells whether data begins like an SVG document. Pages show it as an image, where nothing in it runs; opened by
// itself, the policy that it is served with lets nothing run either.
func isSVG(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	s := strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff"))
	for {
		var end string
		switch {
		case strings.HasPrefix(s, "<?"):
			end = "?>"
		case strings.HasPrefix(s, "<!--"):
			end = "-->"
		case strings.HasPrefix(s, "<!DOCTYPE svg"):
			end = ">"
		default:
			return strings.HasPrefix(s, "<svg") && len(s) >= 5 && strings.ContainsAny(s[4:5], " \t\r\n>")
		}
		i := strings.Index(s, end)
		if i < 0 {
			return false
		}
		s = strings.TrimSpace(s[i+len(end):])
	}
}
