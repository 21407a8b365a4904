# The service alone: no compiler, no tests, none of the local servers' packages.
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/bundle.mjs ./scripts/bundle.mjs
COPY src ./src
RUN npm run build

FROM node:22-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM node:22-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist/program ./dist/program
# The dashboard's page is no TypeScript; it is read from where it is in the sources.
COPY src/ops/dashboard ./src/ops/dashboard
COPY package.json LICENSE ./
COPY clickhouse ./clickhouse
# nobody, by number: what runs the image can tell that it is not root. Nothing is written anywhere.
USER 65534:65534
EXPOSE 8080
# Health, not readiness: during a first snapshot the service is healthy and does not answer questions yet.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--enable-source-maps", "dist/program/main.js"]
CMD ["run", "--config", "/etc/walhouse/walhouse.yaml"]
