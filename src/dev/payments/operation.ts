import type { Micros } from '../instant.js';
import type { MerchantProfile, MerchantText } from './merchants.js';
import type { Payment, PaymentStatus } from './payment.js';

export const OPERATION_KINDS = [
  'pay',
  'settle',
  'checkout',
  'correct_amount',
  'pay_late',
  'redate_out',
  'redate_in',
  'redate_edge',
  'redate_expired',
  'reassign',
  'delete',
  'new_merchant',
  'edit_merchant',
  'roll_back',
  'import_file',
  'settle_all',
] as const;

export type OperationKind = (typeof OPERATION_KINDS)[number];

/** One statement, as data: the executor gives it its SQL. `merchantId` is where the payment stands before it. */
export type Statement =
  | { readonly type: 'insert_payments'; readonly payments: readonly Payment[] }
  | {
      readonly type: 'set_status';
      readonly id: number;
      readonly merchantId: number;
      readonly status: PaymentStatus;
    }
  | { readonly type: 'set_amount'; readonly id: number; readonly merchantId: number; readonly cents: number }
  | { readonly type: 'set_date'; readonly id: number; readonly merchantId: number; readonly paidAt: Micros }
  | {
      readonly type: 'set_merchant';
      readonly id: number;
      readonly merchantId: number;
      readonly newMerchantId: number;
    }
  | { readonly type: 'delete_payment'; readonly id: number; readonly merchantId: number }
  | { readonly type: 'settle_merchant'; readonly merchantId: number; readonly status: PaymentStatus }
  | {
      readonly type: 'insert_merchant';
      readonly profile: MerchantProfile;
      readonly text: MerchantText;
      readonly ingestedAt: Micros;
    }
  | {
      readonly type: 'edit_merchant';
      readonly merchantId: number;
      readonly column: 'address' | 'phone';
      readonly value: string | null;
    };

/** One source transaction. */
export interface Operation {
  readonly kind: OperationKind;
  /** Where the operation stands in the sequence; counted from 0. */
  readonly index: number;
  readonly statements: readonly Statement[];
  /** False for a transaction that is rolled back after its statements: nobody may ever see them. */
  readonly commit: boolean;
}

/** The merchants whose payments, or own row, the operation changes: both, where a payment moves from one to another. */
export function merchantsOf(operation: Operation): number[] {
  return operation.statements.flatMap((statement) => {
    switch (statement.type) {
      case 'insert_payments':
        return statement.payments.map((payment) => payment.merchantId);
      case 'insert_merchant':
        return [statement.profile.id];
      case 'set_merchant':
        return [statement.merchantId, statement.newMerchantId];
      default:
        return [statement.merchantId];
    }
  });
}
