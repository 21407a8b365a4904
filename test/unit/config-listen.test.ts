import { expect, it } from 'vitest';
import { serviceUrl } from '../../src/cli/config.js';

it.each([
  ['127.0.0.1:8080', 'http://127.0.0.1:8080'],
  ['0.0.0.0:8080', 'http://127.0.0.1:8080'],
  ['[::]:8080', 'http://127.0.0.1:8080'],
  ['[::1]:8080', 'http://[::1]:8080'],
  ['walhouse.example.org:80', 'http://walhouse.example.org:80'],
])('a service that listens on %s is found at %s', (listen, url) => {
  expect(serviceUrl({ api: { listen } })).toBe(url);
});
