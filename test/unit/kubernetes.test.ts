import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { parseConfig } from '../../src/cli/config.js';
import { openApi } from './api-fixture.js';

const FOLDER = new URL('../../deploy/kubernetes/', import.meta.url);
const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));

/**
 * The part of the Kubernetes API that our manifests use, told strictly: an unknown key or a value of the wrong kind fails
 * (https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.33/).
 */
const name = z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/);
const labels = z.record(z.string().regex(/^([a-z0-9.-]+\/)?[A-Za-z0-9_.-]{1,63}$/), z.string().max(63));
const selector = z.strictObject({ matchLabels: labels });
const metadata = z.strictObject({ name });
const port = z.union([z.int().min(1).max(65535), z.string().regex(/^[a-z0-9-]{1,15}$/)]);
const quantity = z.string().regex(/^[1-9]\d*(m|[KMGT]i)?$/);
const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string().startsWith('/'), port }),
  periodSeconds: z.int().positive(),
  timeoutSeconds: z.int().positive().optional(),
  failureThreshold: z.int().positive(),
});
const container = z.strictObject({
  name,
  image: z.string(),
  lifecycle: z.strictObject({
    preStop: z.strictObject({ exec: z.strictObject({ command: z.array(z.string()) }) }),
  }),
  ports: z.array(z.strictObject({ name, containerPort: z.int(), protocol: z.literal('TCP') })),
  env: z.array(
    z.strictObject({
      name: z.string().regex(/^[A-Z_]+$/),
      valueFrom: z.strictObject({ secretKeyRef: z.strictObject({ name, key: z.string() }) }),
    }),
  ),
  startupProbe: probe,
  livenessProbe: probe,
  readinessProbe: probe,
  resources: z.strictObject({
    requests: z.strictObject({ cpu: quantity, memory: quantity }),
    limits: z.strictObject({ memory: quantity }),
  }),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal('ALL')]) }),
  }),
  volumeMounts: z.array(
    z.strictObject({ name, mountPath: z.string().startsWith('/'), readOnly: z.literal(true) }),
  ),
});
const deployment = z.strictObject({
  apiVersion: z.literal('apps/v1'),
  kind: z.literal('Deployment'),
  metadata,
  spec: z.strictObject({
    replicas: z.int().positive(),
    selector,
    strategy: z.strictObject({
      type: z.literal('RollingUpdate'),
      rollingUpdate: z.strictObject({ maxSurge: z.int(), maxUnavailable: z.int() }),
    }),
    progressDeadlineSeconds: z.int().positive(),
    template: z.strictObject({
      metadata: z.strictObject({ labels }),
      spec: z.strictObject({
        automountServiceAccountToken: z.literal(false),
        enableServiceLinks: z.literal(false),
        terminationGracePeriodSeconds: z.int().positive(),
        // 65534 is nobody.
        securityContext: z.strictObject({
          runAsNonRoot: z.literal(true),
          runAsUser: z.literal(65534),
          runAsGroup: z.literal(65534),
          seccompProfile: z.strictObject({ type: z.literal('RuntimeDefault') }),
        }),
        topologySpreadConstraints: z.array(
          z.strictObject({
            maxSkew: z.int().positive(),
            topologyKey: z.string(),
            whenUnsatisfiable: z.enum(['ScheduleAnyway', 'DoNotSchedule']),
            labelSelector: selector,
          }),
        ),
        containers: z.tuple([container]),
        volumes: z.array(z.strictObject({ name, configMap: z.strictObject({ name }) })),
      }),
    }),
  }),
});
const policyPort = z.strictObject({ protocol: z.enum(['TCP', 'UDP']), port });
const SCHEMAS = {
  'configmap.yaml': z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('ConfigMap'),
    metadata,
    data: z.record(z.string().regex(/^[-._a-zA-Z0-9]+$/), z.string()),
  }),
  'deployment.yaml': deployment,
  'disruption-budget.yaml': z.strictObject({
    apiVersion: z.literal('policy/v1'),
    kind: z.literal('PodDisruptionBudget'),
    metadata,
    spec: z.strictObject({ minAvailable: z.int().positive(), selector }),
  }),
  'network-policy.yaml': z.strictObject({
    apiVersion: z.literal('networking.k8s.io/v1'),
    kind: z.literal('NetworkPolicy'),
    metadata,
    spec: z.strictObject({
      podSelector: selector,
      policyTypes: z.tuple([z.literal('Ingress'), z.literal('Egress')]),
      ingress: z.array(
        z.strictObject({
          from: z.array(z.strictObject({ namespaceSelector: selector })).min(1),
          ports: z.array(policyPort).min(1),
        }),
      ),
      egress: z.array(z.strictObject({ ports: z.array(policyPort).min(1) })),
    }),
  }),
  'secret.example.yaml': z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('Secret'),
    metadata,
    type: z.literal('Opaque'),
    stringData: z.record(z.string(), z.string()),
  }),
  'service.yaml': z.strictObject({
    apiVersion: z.literal('v1'),
    kind: z.literal('Service'),
    metadata,
    spec: z.strictObject({
      type: z.literal('ClusterIP'),
      selector: labels,
      ports: z.array(z.strictObject({ name, port, targetPort: port })),
    }),
  }),
  'kustomization.yaml': z.strictObject({
    apiVersion: z.literal('kustomize.config.k8s.io/v1beta1'),
    kind: z.literal('Kustomization'),
    labels: z.array(z.strictObject({ pairs: labels })),
    resources: z.array(z.string()),
    images: z.array(z.strictObject({ name, newName: z.string(), newTag: z.string() })),
  }),
};

function read<F extends keyof typeof SCHEMAS>(file: F): z.output<(typeof SCHEMAS)[F]> {
  const documents = parseAllDocuments(readFileSync(new URL(file, FOLDER), 'utf8'), { uniqueKeys: true });
  expect(documents.map(({ errors }) => errors)).toEqual([[]]);
  return SCHEMAS[file].parse(documents[0]!.toJS()) as z.output<(typeof SCHEMAS)[F]>;
}

const { spec } = read('deployment.yaml');
const pod = spec.template.spec;
const [walhouse] = pod.containers;
const podLabels = spec.template.metadata.labels;

describe('deploy/kubernetes', () => {
  test('has files of known kinds, and all but the example of a Secret are applied', () => {
    expect(files.sort()).toEqual(Object.keys(SCHEMAS).sort());
    const { resources } = read('kustomization.yaml');
    expect(resources.sort()).toEqual(
      files.filter((file) => !['kustomization.yaml', 'secret.example.yaml'].includes(file)),
    );
  });

  test('runs two instances, and a new one is there before an old one goes', () => {
    expect(spec.replicas).toBe(2);
    expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    expect(read('disruption-budget.yaml').spec.minAvailable).toBeLessThan(spec.replicas);
  });

  test('asks for life and readiness at routes that there are, on the port that the configuration listens on', async () => {
    const { paths } = (await (await openApi().app.request('/openapi.json')).json()) as { paths: object };
    const probes = [walhouse.startupProbe, walhouse.livenessProbe, walhouse.readinessProbe];
    expect(probes.map(({ httpGet }) => httpGet.path)).toEqual(['/livez', '/livez', '/readyz']);
    for (const { httpGet } of probes) {
      expect(paths).toHaveProperty([httpGet.path, 'get']);
      expect(walhouse.ports.map((each) => each.name)).toContain(httpGet.port);
    }
    const targets = read('service.yaml').spec.ports.map(({ targetPort }) => targetPort);
    expect(targets).toEqual(walhouse.ports.map((each) => each.name));
  });

  test('every selector means the pods of the Deployment', () => {
    expect(spec.selector.matchLabels).toEqual(podLabels);
    expect(read('service.yaml').spec.selector).toEqual(podLabels);
    expect(read('disruption-budget.yaml').spec.selector.matchLabels).toEqual(podLabels);
    expect(read('network-policy.yaml').spec.podSelector.matchLabels).toEqual(podLabels);
    for (const { labelSelector } of pod.topologySpreadConstraints)
      expect(labelSelector.matchLabels).toEqual(podLabels);
  });

  test('the configuration is one that is taken, with the variables that the Secret gives', () => {
    const { metadata, stringData } = read('secret.example.yaml');
    const given = walhouse.env.map(({ name: variable, valueFrom: { secretKeyRef } }) => {
      expect(secretKeyRef).toEqual({ name: metadata.name, key: variable });
      return variable;
    });
    expect(given.sort()).toEqual(Object.keys(stringData).sort());
    const config = read('configmap.yaml');
    const [mount] = walhouse.volumeMounts;
    expect(pod.volumes).toEqual([{ name: mount!.name, configMap: { name: config.metadata.name } }]);
    // The path is the one that the image starts with.
    expect(mount!.mountPath).toBe('/etc/walhouse');
    const { api } = parseConfig(config.data['walhouse.yaml']!, 'walhouse.yaml', stringData);
    expect(api.listen).toBe(`0.0.0.0:${walhouse.ports[0]!.containerPort}`);
    expect(api.keys).toBe(stringData['WALHOUSE_API_KEYS']);
  });

  test('lets the service finish what it has taken on', () => {
    const [command, seconds] = walhouse.lifecycle.preStop.exec.command;
    expect(command).toBe('sleep');
    // The service takes 30 seconds at most.
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(30 + Number(seconds));
  });

  const there = (command: string, ...args: string[]): boolean => {
    try {
      execFileSync(command, args, { stdio: 'pipe' });
      return true;
    } catch {
      return false;
    }
  };

  test.skipIf(!there('kubectl', 'version', '--client'))('is put together by kubectl', () => {
    const text = execFileSync('kubectl', ['kustomize', FOLDER.pathname], { encoding: 'utf8' });
    const kinds = parseAllDocuments(text).map((document) => (document.toJS() as { kind: string }).kind);
    expect(kinds.sort()).toEqual(
      ['ConfigMap', 'Deployment', 'NetworkPolicy', 'PodDisruptionBudget', 'Service'].sort(),
    );
    expect(text).toContain('image: registry.example.com/walhouse:');
  });

  // pip install kubernetes-validate: the JSON schemas of the Kubernetes API itself.
  test.skipIf(!there('kubernetes-validate', '--version'))('is valid by the schemas of Kubernetes', () => {
    const manifests = files.filter((file) => file !== 'kustomization.yaml');
    execFileSync(
      'kubernetes-validate',
      ['--strict', ...manifests.map((file) => new URL(file, FOLDER).pathname)],
      { stdio: 'pipe' },
    );
  });
});
