// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* From Linux 6.17 on i40e and ice share what they know of the admin queue, under the names of libie. Our files say the
 * drivers' own names of before; the compiler reads this first where there are none. */
#ifndef JUDGE_LIBIE_H
#define JUDGE_LIBIE_H

#define i40e_aq_desc libie_aq_desc
#define i40e_admin_queue_err libie_aq_err
#define I40E_AQ_RC_OK LIBIE_AQ_RC_OK
#define I40E_AQ_RC_ENOSPC LIBIE_AQ_RC_ENOSPC

#define ice_aq_desc libie_aq_desc
#define ice_aq_err libie_aq_err
#define ICE_AQ_RC_OK LIBIE_AQ_RC_OK
#define ICE_AQ_RC_ENOMEM LIBIE_AQ_RC_ENOMEM
#define ICE_AQ_RC_ENOSPC LIBIE_AQ_RC_ENOSPC
#define ice_aqc_list_caps libie_aqc_list_caps
#define ice_aqc_list_caps_elem libie_aqc_list_caps_elem
#define ICE_AQC_CAPS_VALID_FUNCTIONS LIBIE_AQC_CAPS_VALID_FUNCTIONS
#define ICE_AQC_CAPS_SRIOV LIBIE_AQC_CAPS_SRIOV
#define ICE_AQC_CAPS_VF LIBIE_AQC_CAPS_VF
#define ICE_AQC_CAPS_VSI LIBIE_AQC_CAPS_VSI
#define ICE_AQC_CAPS_DCB LIBIE_AQC_CAPS_DCB
#define ICE_AQC_CAPS_RSS LIBIE_AQC_CAPS_RSS
#define ICE_AQC_CAPS_RXQS LIBIE_AQC_CAPS_RXQS
#define ICE_AQC_CAPS_TXQS LIBIE_AQC_CAPS_TXQS
#define ICE_AQC_CAPS_MSIX LIBIE_AQC_CAPS_MSIX
#define ICE_AQC_CAPS_MAX_MTU LIBIE_AQC_CAPS_MAX_MTU

#endif
