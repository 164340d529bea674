package sms

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// Endpoint returns the URL that texts are handed to with these settings: the one that is named, or that of the region.
func (s Settings) Endpoint(ctx context.Context) (string, error) {
	sender, err := newSender(ctx, s)
	if err != nil {
		return "", err
	}
	if s.AWSEndpointURLSNS != "" {
		return s.AWSEndpointURLSNS, nil
	}
	found, err := sns.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sns.EndpointParameters{
		Region: aws.String(sender.client.Options().Region),
	})
	if err != nil {
		return "", fmt.Errorf("no SNS endpoint for this region: %w", err)
	}
	return found.URI.String(), nil
}

// Credentials tells whether there are credentials to sign a call of SNS with, static ones or what the AWS SDK finds. It
// does not tell whether AWS takes them.
func (s Settings) Credentials(ctx context.Context) error {
	sender, err := newSender(ctx, s)
	if err != nil {
		return err
	}
	if sender.credentials == nil {
		return errors.New("none are configured")
	}
	_, err = sender.credentials.Retrieve(ctx)
	return err
}
